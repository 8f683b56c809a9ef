include "console.iol"
include "json_utils.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  result.action = "DROP";
  result.reply.to = message.senderID;
  result.reply.message = "No, thank you.";
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
