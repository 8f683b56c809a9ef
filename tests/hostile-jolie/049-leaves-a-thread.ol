// direction: incoming
// expect: forward|worker_killed|cpu_limit
include "console.iol"
main { println@Console( "{\"action\": \"FORWARD\"}" )(); exit }
