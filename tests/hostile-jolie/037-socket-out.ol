// direction: incoming
// expect: error|compile
interface Any {
OneWay: hello( string )
}
outputPort Out {
  Location: "socket://127.0.0.1:22"
  Protocol: sodep
  Interfaces: Any
}
main { hello@Out( "x" ) }
