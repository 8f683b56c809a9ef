// direction: incoming
// expect: heap_limit|cpu_limit|worker_killed
main { s = "0123456789"; while( true ) { s = s + s } }
