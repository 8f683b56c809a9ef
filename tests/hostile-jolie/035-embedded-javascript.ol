// direction: incoming
// expect: compile
interface Any {
RequestResponse: start( undefined )( undefined )
}
outputPort Any {
  Interfaces: Any
}
embedded {
  JavaScript: "x.js" in Any
}
main { start@Any()() }
