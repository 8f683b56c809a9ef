// direction: incoming
// expect: compile
include "http://127.0.0.1:9/x.iol"
main { nullProcess }
