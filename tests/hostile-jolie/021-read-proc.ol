// direction: incoming
// expect: compile
include "/proc/self/environ"
main { nullProcess }
