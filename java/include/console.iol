// Console: what a script prints.

interface ConsoleInterface {
RequestResponse:
  print( undefined )( void ),
  println( undefined )( void )
}

outputPort Console {
  Interfaces: ConsoleInterface
}

embedded {
  Java: "parlor.jolie.services.Console" in Console
}
