// Block list
// Keeps messages of certain people out of your inbox. They stand in your filtered list, and nobody is told.
// direction: incoming
//
// sample: {"messageBody": "Buy!", "senderId": 666}
// gives:  {"action": "DROP"}
// sample: {"messageBody": "Lunch?", "senderId": 12}
// gives:  {"action": "FORWARD"}

include "console.iol"
include "json_utils.iol"

init {
  blocked[0] = 666; // user ids
  blocked[1] = 667
}

main {
  getJsonValue@JsonUtils( args[0] )( message );
  result.action = "FORWARD";
  for ( i = 0, i < #blocked, i++ ) {
    if ( message.senderID == blocked[i] ) {
      result.action = "DROP"
    }
  };
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
