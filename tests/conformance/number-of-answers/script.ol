include "console.iol"
include "json_utils.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  result.action = "FORWARD";
  for ( i = 0, i < int( message.messageBody ), i++ ) {
    result.reply[i].to = message.senderID;
    result.reply[i].message = "x"
  };
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
