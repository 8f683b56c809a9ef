include "console.iol"
include "json_utils.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  result.action = "FORWARD";
  result.reply[0].to = message.senderID;
  result.reply[0].message = "for " + message.senderID;
  for ( i = 0, i < #message.recipientIDs, i++ ) {
    if ( message.recipientIDs[i] != message.ownID ) {
      n = #result.reply;
      result.reply[n].to = message.recipientIDs[i];
      result.reply[n].message = "for " + message.recipientIDs[i]
    }
  };
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
