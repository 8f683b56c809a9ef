include "console.iol"
include "json_utils.iol"
include "string_utils.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  length@StringUtils( message.messageBody )( result.messageBody );
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
