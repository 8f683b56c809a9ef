// direction: incoming
// expect: heap_limit|cpu_limit|worker_killed|error
main { while( true ) { t << { .below << t }; i++ } }
