// direction: incoming
// expect: heap_limit|cpu_limit|worker_killed|error|bad_result
main { while( true ) { t << { .below << t }; i++ } }
