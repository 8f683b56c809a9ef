include "console.iol"
main {
  println@Console( "{\"action\": \"FORWARD\", \"reply\": []}" )()
}
