// direction: incoming
// expect: error
interface Any {
RequestResponse: start( undefined )( undefined )
}
outputPort Any {
  Interfaces: Any
}
embedded {
  Java: "java.lang.ProcessBuilder" in Any
}
main { start@Any()() }
