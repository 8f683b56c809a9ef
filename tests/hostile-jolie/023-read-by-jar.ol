// direction: incoming
// expect: compile
include "jar:file:/jolie/lib/jolie-1.11.0.jar!/META-INF/MANIFEST.MF"
main { nullProcess }
