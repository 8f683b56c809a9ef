// direction: incoming
// expect: worker_killed|compile
inputPort Here {
  Location: "local"
  OneWay: never( undefined )
}
main { never( x ) }
