// direction: incoming
// expect: cpu_limit
include "string_utils.iol"
main { match@StringUtils( "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" { .regex = "(x+x+)+\\1y" } )( found ) }
