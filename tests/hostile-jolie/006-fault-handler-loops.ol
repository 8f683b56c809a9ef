// direction: incoming
// expect: cpu_limit
main { scope( s ) { install( default => while( true ) { i++ } ); throw( Oh ) } }
