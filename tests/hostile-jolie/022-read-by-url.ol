// direction: incoming
// expect: compile
include "file:///etc/passwd"
main { nullProcess }
