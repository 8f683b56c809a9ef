// direction: incoming
// expect: compile
include "../../../../etc/passwd"
main { nullProcess }
