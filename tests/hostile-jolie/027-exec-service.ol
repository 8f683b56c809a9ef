// direction: incoming
// expect: compile
include "exec.iol"
main { exec@Exec( "id" )( result ) }
