include "console.iol"
include "json_utils.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  result.messageBody = message.messageBody + " to " + #message.recipientIDs;
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
