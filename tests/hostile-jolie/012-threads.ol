// direction: incoming
// expect: heap_limit|cpu_limit|worker_killed|error
main { spawn( i over 100000 ) in x { while( true ) { y++ } } }
