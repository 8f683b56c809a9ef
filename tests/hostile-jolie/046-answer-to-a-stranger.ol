// direction: incoming
// expect: forward 1
include "console.iol"
main { println@Console( "{\"action\": \"FORWARD\", \"reply\": {\"to\": 12345, \"message\": \"psst\"}}" )() }
