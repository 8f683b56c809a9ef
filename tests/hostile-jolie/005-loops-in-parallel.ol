// direction: incoming
// expect: cpu_limit
main { { while( true ) { i++ } } | { while( true ) { j++ } } }
