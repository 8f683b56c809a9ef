// direction: incoming
// expect: forward
include "console.iol"
main { args[0] = "x"; undef( args ); println@Console( "{\"action\": \"FORWARD\"}" )() }
