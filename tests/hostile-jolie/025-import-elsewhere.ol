// direction: incoming
// expect: compile
from ..............etc.passwd import Root
main { nullProcess }
