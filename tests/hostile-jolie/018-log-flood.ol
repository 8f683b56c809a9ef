// direction: incoming
// expect: forward
include "console.iol"
main { for ( i = 0, i < 500, i++ ) { println@Console( "line " + i )() }; println@Console( "{\"action\": \"FORWARD\"}" )() }
