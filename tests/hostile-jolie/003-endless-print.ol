// direction: incoming
// expect: cpu_limit|bad_result|heap_limit
include "console.iol"
main { while( true ) { println@Console( "more and more" )() } }
