// direction: incoming
// expect: error|cpu_limit|heap_limit
include "console.iol"
include "json_utils.iol"
main { s = "["; for ( i = 0, i < 18, i++ ) { s = s + s }; getJsonValue@JsonUtils( s )( v ) }
