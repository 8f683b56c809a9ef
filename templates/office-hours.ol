// Office hours
// Outside working hours, says when somebody is there again. Hours are those of the day in UTC; change the two at the top.
// direction: incoming
//
// sample: {"messageBody": "Anybody there?", "sentAt": "2026-11-24T07:59:00Z"}
// gives:  {"action": "FORWARD", "reply": [{"to": 1, "message": "We are here from 8 to 17 o'clock (UTC)."}]}
// sample: {"messageBody": "Anybody there?", "sentAt": "2026-11-24T08:00:00Z"}
// gives:  {"action": "FORWARD"}
// sample: {"messageBody": "Anybody there?", "sentAt": "2026-11-24T17:00:00Z"}
// gives:  {"action": "FORWARD", "reply": [{"to": 1, "message": "We are here from 8 to 17 o'clock (UTC)."}]}

include "console.iol"
include "json_utils.iol"
include "time.iol"

init {
  opens = 8;
  closes = 17
}

main {
  getJsonValue@JsonUtils( args[0] )( message );
  getCurrentDateTime@Time( { .format = "H" } )( hour );
  result.action = "FORWARD";
  if ( int( hour ) < opens || int( hour ) >= closes ) {
    result.reply.to = message.senderID;
    result.reply.message = "We are here from " + opens + " to " + closes + " o'clock (UTC)."
  };
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
