// direction: incoming
// expect: bad_result|cpu_limit|heap_limit|worker_killed
define again { again }
main { again }
