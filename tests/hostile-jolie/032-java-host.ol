// direction: incoming
// expect: error
interface Any {
RequestResponse: start( undefined )( undefined )
}
outputPort Any {
  Interfaces: Any
}
embedded {
  Java: "parlor.jolie.Host" in Any
}
main { start@Any()() }
