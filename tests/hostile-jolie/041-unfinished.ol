// direction: incoming
// expect: compile
main {
