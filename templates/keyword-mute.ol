// Keyword mute
// Keeps messages with certain words out of your inbox, in capitals or not.
// direction: incoming
//
// sample: {"messageBody": "Click here to UNSUBSCRIBE"}
// gives:  {"action": "DROP"}
// sample: {"messageBody": "Lunch?"}
// gives:  {"action": "FORWARD"}

include "console.iol"
include "json_utils.iol"
include "string_utils.iol"

init {
  muted[0] = "unsubscribe"; // in small letters
  muted[1] = "lottery"
}

main {
  getJsonValue@JsonUtils( args[0] )( message );
  toLowerCase@StringUtils( message.messageBody )( text );
  result.action = "FORWARD";
  for ( i = 0, i < #muted, i++ ) {
    contains@StringUtils( text { .substring = muted[i] } )( found );
    if ( found ) {
      result.action = "DROP"
    }
  };
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
