// Console: what a script prints.

interface ConsoleInterface {
RequestResponse:
  print( undefined )( void ),
  println( undefined )( void )
}

service Console {
  inputPort Operations {
    location: "local"
    interfaces: ConsoleInterface
  }

  foreign java {
    class: "parlor.jolie.services.Console"
  }
}
