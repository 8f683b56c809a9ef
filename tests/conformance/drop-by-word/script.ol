include "console.iol"
include "json_utils.iol"
include "string_utils.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  contains@StringUtils( message.messageBody { .substring = "unsubscribe" } )( found );
  if ( found ) { result.action = "DROP" } else { result.action = "FORWARD" };
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
