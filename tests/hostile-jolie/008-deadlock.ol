// direction: incoming
// expect: worker_killed
main { { linkIn( a ); linkOut( b ) } | { linkIn( b ); linkOut( a ) } }
