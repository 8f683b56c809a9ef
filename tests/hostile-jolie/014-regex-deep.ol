// direction: incoming
// expect: bad_result|cpu_limit|heap_limit
include "string_utils.iol"
main { s = "ab"; for ( i = 0, i < 16, i++ ) { s = s + s }; match@StringUtils( s { .regex = "(a|b)*" } )( found ) }
