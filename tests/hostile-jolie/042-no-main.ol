// direction: incoming
// expect: compile
define other { nullProcess }
