// direction: incoming
// expect: heap_limit|cpu_limit|worker_killed
main { while( true ) { tree.node[i] = "a leaf of some length " + i; i++ } }
