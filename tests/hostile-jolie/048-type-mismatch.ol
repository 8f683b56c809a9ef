// direction: incoming
// expect: error
include "string_utils.iol"
main { length@StringUtils( 5 { .x = 1 } )( n ) }
