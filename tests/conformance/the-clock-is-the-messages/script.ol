include "console.iol"
include "json_utils.iol"
include "time.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  getCurrentDateTime@Time( { .format = "yyyy-MM-dd HH:mm" } )( now );
  result.action = "FORWARD";
  result.reply.to = message.senderID;
  result.reply.message = now;
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
