// direction: incoming
// expect: error
interface Any {
RequestResponse: start( undefined )( undefined )
}
outputPort Any {
  Interfaces: Any
}
embedded {
  Java: "java.lang.Runtime" in Any
}
main { start@Any()() }
