// direction: incoming
// expect: heap_limit|error|worker_killed
include "string_utils.iol"
main { leftPad@StringUtils( "" { .length = 2147483647, .char = "x" } )( s ) }
