include "console.iol"
include "json_utils.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  result.action = "FORWARD";
  result.reply.to = message.ownID;
  result.reply.message = "psst";
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
