// direction: incoming
// expect: compile|error
service Evil {
  inputPort In {
    location: "local"
    requestResponse: start( undefined )( undefined )
  }
  foreign java {
    class: "java.lang.ProcessBuilder"
  }
}
service Main {
  embed Evil as Evil
  main { start@Evil()() }
}
