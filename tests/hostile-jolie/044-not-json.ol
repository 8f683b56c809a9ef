// direction: incoming
// expect: bad_result
include "console.iol"
main { println@Console( "{action: FORWARD}" )() }
