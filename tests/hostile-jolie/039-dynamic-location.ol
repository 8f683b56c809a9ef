// direction: incoming
// expect: error|compile
interface Any {
RequestResponse: hello( string )( string )
}
outputPort Out {
  Interfaces: Any
}
main { Out.location = "localsocket:/run/x"; Out.protocol = "sodep"; hello@Out( "x" )( y ) }
