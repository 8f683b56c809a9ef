// direction: incoming
// expect: cpu_limit|heap_limit|worker_killed
main { while( true ) { spawn( i over 1000 ) in x { while( true ) { y++ } } } }
