include "console.iol"
include "json_utils.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  global.runs++;
  if ( global.runs == 1 ) { result.action = "FORWARD" } else { result.action = "DROP" };
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
