// direction: incoming
// expect: error Oh
main { throw( Oh ) }
