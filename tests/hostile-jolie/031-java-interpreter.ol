// direction: incoming
// expect: error
interface Any {
RequestResponse: start( undefined )( undefined )
}
outputPort Any {
  Interfaces: Any
}
embedded {
  Java: "jolie.Interpreter" in Any
}
main { start@Any()() }
