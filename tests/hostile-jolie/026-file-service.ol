// direction: incoming
// expect: compile
include "file.iol"
main { readFile@File( { .filename = "/etc/passwd" } )( content ) }
