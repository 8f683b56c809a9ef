// Signature
// Writes your name below what you send, unless it stands there already.
// direction: outgoing
//
// sample: {"messageBody": "See you at eight."}
// gives:  {"messageBody": "See you at eight.\n-- Ada"}
// sample: {"messageBody": "See you at eight.\n-- Ada"}
// gives:  {"messageBody": "See you at eight.\n-- Ada"}

include "console.iol"
include "json_utils.iol"
include "string_utils.iol"

init {
  signature = "\n-- Ada"
}

main {
  getJsonValue@JsonUtils( args[0] )( message );
  endsWith@StringUtils( message.messageBody { .suffix = signature } )( signed );
  result.messageBody = message.messageBody;
  if ( !signed ) {
    result.messageBody = result.messageBody + signature
  };
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
