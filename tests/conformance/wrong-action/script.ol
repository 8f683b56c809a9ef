include "console.iol"
include "json_utils.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  result.action = "KEEP";
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
