// direction: incoming
// expect: compile|worker_killed
interface Any {
OneWay: hello( string )
}
inputPort In {
  Location: "socket://localhost:9999"
  Protocol: sodep
  Interfaces: Any
}
main { hello( x ) }
