include "console.iol"
include "json_utils.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  println@Console( "from " + message.senderID )();
  println@Console( message.messageBody )();
  result.action = "FORWARD";
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
