// direction: incoming
// expect: worker_killed|compile
execution { concurrent }
interface Any {
OneWay: hello( string )
}
inputPort In {
  Location: "local"
  Interfaces: Any
}
main { hello( x ) }
