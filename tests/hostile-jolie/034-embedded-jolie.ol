// direction: incoming
// expect: error
interface Any {
RequestResponse: start( undefined )( undefined )
}
outputPort Any {
  Interfaces: Any
}
embedded {
  Jolie: "/etc/passwd" in Any
}
main { start@Any()() }
