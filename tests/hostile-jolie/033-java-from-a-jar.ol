// direction: incoming
// expect: error
interface Any {
RequestResponse: start( undefined )( undefined )
}
outputPort Any {
  Interfaces: Any
}
embedded {
  Java: "evil.Service:http://127.0.0.1:9/evil.jar" in Any
}
main { start@Any()() }
