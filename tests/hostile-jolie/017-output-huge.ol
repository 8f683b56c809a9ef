// direction: incoming
// expect: bad_result|heap_limit|cpu_limit
include "console.iol"
main { s = "0123456789"; for ( i = 0, i < 18, i++ ) { s = s + s }; println@Console( s )() }
