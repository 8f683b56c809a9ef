// direction: incoming
// expect: compile
include "runtime.iol"
main { getenv@Runtime( "HOME" )( home ) }
