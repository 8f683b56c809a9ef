// direction: incoming
// expect: bad_result action: 
include "console.iol"
main { println@Console( "{\"action\": \"SUDO\"}" )() }
