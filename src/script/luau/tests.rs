//! Runs as an owner would see them.

use super::*;
use crate::ids::ConversationId;
use crate::script::call::Input;
use crate::script::call::{Direction, Severity};

const MIB: u64 = 1024 * 1024;

pub(super) fn limits() -> RunLimits {
    RunLimits {
        heap_bytes: 8 * MIB,
        cpu_micros: 50_000,
        message_bytes: 1000,
        replies: 8,
        print_lines: 3,
        print_bytes: 100,
        states_bytes: 64 * MIB,
    }
}

fn input(body: &str) -> Input {
    let recipient_ids = vec![UserId(2), UserId(3)];
    Input {
        message_body: body.into(),
        own_id: UserId(2),
        sender_id: UserId(1),
        conversation_id: ConversationId::of([UserId(1), UserId(2), UserId(3)]),
        recipient_ids,
        from_auto_reply: false,
        first_contact: false,
        sent_at: 1_700_000_000_123,
    }
}

struct Bench(Luau);

impl Bench {
    fn new() -> Self {
        Self(Luau::new(limits()).unwrap())
    }

    fn ran(&mut self, owner: i64, direction: Direction, source: &str, body: &str) -> Ran {
        let (hash, input) = (SourceHash::of(source), input(body));
        let call = Call { owner: UserId(owner), hash, source: Some(source), direction, input: &input, seed: 7 };
        self.0.run(call).unwrap()
    }

    /// What `outgoing` makes of a body.
    fn edited(&mut self, source: &str, body: &str) -> String {
        match self.ran(2, Direction::Outgoing, source, body).outcome {
            Ok(Wanted::Outgoing { message_body }) => message_body,
            other => panic!("{other:?}"),
        }
    }

    /// The value of an expression, as text.
    fn value(&mut self, expression: &str) -> String {
        self.edited(&format!("function outgoing(m) return {{ messageBody = tostring({expression}) }} end"), "hello")
    }

    fn failure(&mut self, source: &str) -> Failure {
        self.ran(2, Direction::Incoming, source, "hello").outcome.unwrap_err()
    }

    /// Why a returned value is refused.
    fn refused(&mut self, returned: &str) -> String {
        let failure = self.failure(&format!("function incoming(m) return {returned} end"));
        assert_eq!(failure.kind, FailureKind::BadResult, "{failure}");
        failure.detail
    }
}

#[test]
fn a_script_sees_the_message_and_says_what_it_wants() {
    let source = "function incoming(m)
        assert(m.ownId == 2 and m.senderId == 1 and m.recipientIds[2] == 3 and #m.recipientIds == 2)
        assert(m.fromAutoReply == false and #m.conversationId == 36 and m.sentAt == '2023-11-14T22:13:20.123Z')
        return { action = 'DROP', reply = { { to = m.senderId, message = 'Got ' .. m.messageBody } } }
    end";
    let ran = Bench::new().ran(2, Direction::Incoming, source, "it");
    let replies = vec![crate::script::call::Reply { to: UserId(1), message_body: "Got it".into() }];
    assert_eq!(ran.outcome, Ok(Wanted::Incoming { drop: true, replies }));
    assert!(ran.heap_bytes > 10_000 && ran.cpu_micros < 50_000, "{ran:?}");
    let fields = "function outgoing(m) local n = 0 for _ in m do n += 1 end return { messageBody = tostring(n) } end";
    assert_eq!(Bench::new().edited(fields, ""), "3");
}

#[test]
fn nothing_of_a_run_is_seen_by_the_next() {
    let mut bench = Bench::new();
    for leaves in [
        "count = (count or 0) + 1; local kept = 0
         function outgoing(m) kept += 1; return { messageBody = count .. ' ' .. kept } end",
        "string2 = string2 or 'no'
         function outgoing(m) local was = string2; string2 = 'yes'; return { messageBody = was } end",
        "local t = { 1 }
         function outgoing(m) t[#t + 1] = 2; return { messageBody = tostring(#t) } end",
        "local function f() local n = 0; return function() n += 1; return n end end
         local g = f()
         function outgoing(m) return { messageBody = tostring(g()) } end",
        "function outgoing(m) local r = {} for i = 1, 5 do r[i] = math.random(1000000) end
         return { messageBody = table.concat(r, ' ') } end",
        "local co = coroutine.wrap(function() while true do coroutine.yield('a'); coroutine.yield('b') end end)
         function outgoing(m) return { messageBody = co() } end",
    ] {
        let first = bench.edited(leaves, "x");
        assert_eq!((1..20).map(|_| bench.edited(leaves, "x")).find(|again| *again != first), None, "{leaves}");
    }
    assert_eq!(bench.0.states().0, 1);
}

#[test]
fn owners_share_no_state_and_what_one_left_another_does_not_find() {
    let mut bench = Bench::new();
    let leave = "left = 'secret' function incoming(m) left2 = 'secret' return { action = 'FORWARD' } end";
    let look = "function incoming(m) assert(left == nil and left2 == nil) return { action = 'FORWARD' } end";
    assert!(bench.ran(1, Direction::Incoming, leave, "").outcome.is_ok());
    assert!(bench.ran(2, Direction::Incoming, look, "").outcome.is_ok());
    assert!(bench.ran(1, Direction::Incoming, look, "").outcome.is_ok());
    assert_eq!(bench.0.states().0, 2);
}

#[test]
fn what_is_not_on_the_list_is_not_there() {
    let mut bench = Bench::new();
    for name in [
        "require",
        "loadstring",
        "load",
        "getfenv",
        "setfenv",
        "collectgarbage",
        "gcinfo",
        "debug",
        "newproxy",
        "io",
        "package",
        "_G",
        "vector",
        "os.clock",
        "os.getenv",
        "os.execute",
        "os.exit",
        "integer",
        "class",
        "coroutine.finally",
        "dofile",
        "shared",
        "script",
        "game",
    ] {
        assert_eq!(bench.value(name), "nil", "{name}");
    }
    for (library, functions) in environment::LIBRARIES {
        for function in functions.iter().filter(|function| **function != "charpattern") {
            assert_ne!(bench.value(&format!("{library}.{function}")), "nil", "{library}.{function}");
        }
    }
    assert_eq!(bench.value("getmetatable('')"), "false");
    assert_eq!(bench.value("pcall(function() string.rep = nil end)"), "false");
    assert_eq!(bench.value("pcall(rawset, string, 'rep', 1)"), "false");
    assert_eq!(bench.value("pcall(setmetatable, string, {})"), "false");
    assert_eq!(bench.value("pcall(table.clear, math)"), "false");
    assert_eq!(bench.value("coroutine.running()"), "nil");
}

#[test]
fn no_text_has_an_address() {
    let mut bench = Bench::new();
    for value in [
        "{}",
        "print",
        "coroutine.create(print)",
        "buffer.create(1)",
        "function() end",
        "select(2, pcall(os.date, '%Q'))",
    ] {
        for text in ["tostring(X)", "string.format('%s', X)", "('%*'):format(X)", "`{(X)}`", "tostring(tostring)"] {
            let said = bench.value(&text.replace('X', value));
            assert!(!said.contains("0x"), "{text} of {value}: {said}");
        }
    }
    assert_eq!(bench.value("`{1} {'a'} {nil} {true} {0/0}`"), "1 a nil true nan");
    assert_eq!(bench.value("string.format('%5.2f|%d|%q', 1.234, 7, 'x')"), " 1.23|7|\"x\"");
    assert_eq!(bench.value("tostring('table: 0x12')"), "table: 0x12");
    assert_eq!(bench.value("setmetatable({}, { __tostring = function() return 'mine' end })"), "mine");
    assert_eq!(bench.value("string.format('%s %s', {}, 1)"), "table 1");
}

#[test]
fn the_clock_is_the_runs_own() {
    let mut bench = Bench::new();
    assert_eq!(bench.value("os.time()"), "1700000000");
    assert_eq!(bench.value("os.date('!%Y-%m-%d %H:%M:%S')"), "2023-11-14 22:13:20");
    assert_eq!(bench.value("os.date('*t').hour"), "22");
    assert_eq!(
        bench.value("os.time({ year = 2023, month = 11, day = 14, hour = 22, min = 13, sec = 20 })"),
        "1700000000"
    );
    assert_eq!(bench.value("os.time({ year = 2023, month = 14, day = 1 })"), "1706788800");
    assert_eq!(bench.value("os.difftime(5, 3)"), "2");
    assert_eq!(bench.value("(pcall(os.date, '%Q'))"), "false");
    assert_eq!(bench.value("(pcall(os.date, '%Y', 1e300))"), "false");
}

#[test]
fn the_processor_limit_cannot_be_caught() {
    let mut bench = Bench::new();
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() local ok = pcall(f) f() end f()",
        "xpcall(function() while true do end end, function() while true do end end)",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "local t = setmetatable({}, { __tostring = function() while true do end end }) tostring(t)",
        "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) while true do pcall(function() return t[1] end) end",
        "string.rep('a', 30):find(string.rep('a?', 30) .. string.rep('a', 30))",
        "table.sort(table.create(1000, 1), function(a, b) while true do end end)",
        "for i = 1, 1e9 do string.rep('x', 100000) end",
    ] {
        let failure = bench.failure(&format!("function incoming(m) {body} return {{ action = 'DROP' }} end"));
        assert_eq!(failure.kind, FailureKind::CpuLimit, "{body}: {failure}");
        assert_eq!(failure.detail, "used more than 50 ms of processor time");
    }
    let inside = "function outgoing(m) for i = 1, 100000 do end return { messageBody = 'fine' } end";
    assert_eq!(bench.edited(inside, ""), "fine");
}

#[test]
fn the_heap_is_bounded_and_a_failed_run_is_not_paid_for_by_the_next() {
    let mut bench = Bench::new();
    for body in [
        "local t = {} for i = 1, 1e9 do t[i] = {} end",
        "local s = 'x' while true do s ..= s end",
        "string.rep('x', 1e9)",
        "buffer.create(2^30)",
        "table.create(1e7, 1)",
    ] {
        let failure = bench.failure(&format!("function incoming(m) {body} return {{ action = 'DROP' }} end"));
        assert_eq!(failure.kind, FailureKind::HeapLimit, "{body}: {failure}");
        assert_eq!(bench.value("1"), "1");
    }
    // Five MiB of garbage in every run, which fits once only.
    let heavy = "function outgoing(m) local s = string.rep('x', 5e6) return { messageBody = tostring(#s) } end";
    for _ in 0..20 {
        assert_eq!(bench.edited(heavy, ""), "5000000");
    }
    let over = "function outgoing(m) local s = string.rep('x', 9e6) return { messageBody = tostring(#s) } end";
    assert!(bench.ran(2, Direction::Outgoing, over, "").outcome.is_err());
}

#[test]
fn results_are_taken_strictly_and_the_path_is_named() {
    let mut bench = Bench::new();
    let forward = |rest: &str| format!("{{ action = 'FORWARD', {rest} }}");
    let cases = [
        ("nil", "result: must be a table"),
        ("42", "result: must be a table"),
        ("{}", "action: must be \"FORWARD\" or \"DROP\", is nothing"),
        ("{ action = 'forward' }", "action: must be \"FORWARD\" or \"DROP\", is \"forward\""),
        ("{ action = 1 }", "action: "),
        ("{ action = 'FORWARD', replies = {} }", "result: has the unknown key `replies`"),
        ("setmetatable({ action = 'FORWARD' }, {})", "result: must be plain data"),
    ];
    for (returned, says) in cases {
        assert!(bench.refused(returned).starts_with(says), "{returned}: {}", bench.refused(returned));
    }
    let replies = [
        ("reply = 1", "reply: must be an array"),
        ("reply = { to = 1, message = 'x' }", "reply: must be an array, has the key `"),
        ("reply = { { to = '1', message = 'x' } }", "reply[1].to: must be a user id (a whole number), is a string"),
        ("reply = { { to = 1.5, message = 'x' } }", "reply[1].to: must be a user id (a whole number), is 1.5"),
        ("reply = { { to = 0/0, message = 'x' } }", "reply[1].to: must be a user id (a whole number), is NaN"),
        ("reply = { { to = 1/0, message = 'x' } }", "reply[1].to: must be a user id (a whole number), is inf"),
        ("reply = { { to = -1, message = 'x' } }", "reply[1].to: must be a user id (a whole number), is -1"),
        ("reply = { { to = 2^60, message = 'x' } }", "reply[1].to: must be a user id"),
        ("reply = { { to = 1, message = 2 } }", "reply[1].message: must be a string, is a number"),
        ("reply = { { to = 1 } }", "reply[1].message: must be a string, is nothing"),
        ("reply = { { to = 1, message = 'ab\\255' } }", "reply[1].message: is not UTF-8 at byte 3"),
        ("reply = { { to = 1, message = string.rep('x', 1001) } }", "reply[1].message: has 1001 bytes, at most 1000"),
        ("reply = { [2] = { to = 1, message = 'x' } }", "reply[1]: is missing"),
        ("reply = { { to = 1, message = 'x', cc = 2 } }", "reply[1]: has the unknown key `cc`"),
        ("reply = table.create(9, { to = 1, message = 'x' })", "reply: has more than 8 entries"),
        ("reply = table.create(100000, 1)", "reply: has more than 8 entries"),
        ("reply = { 1 }", "reply[1]: must be a table"),
    ];
    for (rest, says) in replies {
        let said = bench.refused(&forward(rest));
        assert!(said.starts_with(says), "{rest}: {said}");
    }
    let most = "function incoming(m) return { action = 'FORWARD', reply = table.create(8, \
                { to = 2^53, message = string.rep('x', 1000) }) } end";
    assert!(bench.ran(2, Direction::Incoming, most, "").outcome.is_ok());
}

#[test]
fn errors_have_the_owners_line_and_nothing_of_ours() {
    let mut bench = Bench::new();
    let cases = [
        ("function incoming(m)\n  error('boom')\nend", Some(2), "boom"),
        ("function incoming(m)\n  local x = nil\n  return x.y\nend", Some(3), "attempt to index nil with 'y'"),
        ("\nerror('at once')", Some(2), "at once"),
        ("function incoming(m)\n\n  error({ message = 'in a table' })\nend", Some(3), "in a table"),
        (
            "function incoming(m)\n  m = ('%d'):format('x')\nend",
            Some(2),
            "invalid argument #2 to 'format' (number expected, got string)",
        ),
        ("function incoming(m)\n  error('placeless', 0)\nend", Some(2), "placeless"),
        ("function incoming(m)\n  os.date('%Q')\nend", Some(2), "os.date: the format is not understood"),
        ("function incoming(m)\n  error()\nend", Some(2), "raised an error without a message"),
        (
            "function incoming(m) error(setmetatable({}, { __tostring = function() while true do end end })) end",
            Some(1),
            "raised an error that is a table without a `message`",
        ),
    ];
    for (source, line, says) in cases {
        let failure = bench.failure(source);
        assert_eq!((failure.kind, failure.line), (FailureKind::Error, line), "{source}: {failure}");
        assert_eq!(failure.detail, says);
    }
    let long = bench.failure("function incoming(m) error(string.rep('x', 100000)) end");
    assert!(long.detail.len() <= 1000);
    let deep = bench.failure("local function f() return 1 + f() end function incoming(m) f() end");
    assert!(deep.detail.contains("stack overflow") && !deep.detail.contains("traceback"), "{deep:?}");
    let object = bench.failure("function incoming(m) error(os.time, 0) end");
    assert!(!object.detail.contains("0x"), "{object:?}");
}

#[test]
fn prints_are_kept_up_to_their_bounds() {
    let mut bench = Bench::new();
    let source = |printing: &str| format!("function outgoing(m) {printing} return {{ messageBody = '' }} end");
    let mut prints = |printing: &str| bench.ran(2, Direction::Outgoing, &source(printing), "").prints;
    let three = prints("print('a', 1, nil, true) print('b') print('c')");
    assert_eq!((three.lines, three.cut), (vec!["a\t1\tnil\ttrue".into(), "b".into(), "c".into()], false));
    let four = prints("for i = 1, 4 do print(i) end");
    assert_eq!((four.lines.len(), four.cut), (3, true));
    let wide = prints("print(string.rep('x', 60)) print(string.rep('y', 60))");
    assert_eq!((wide.lines.iter().map(String::len).sum::<usize>(), wide.cut), (100, true));
    let exact = prints("print(string.rep('x', 100))");
    assert!(!exact.cut);
    assert!(prints("").lines.is_empty());
    let bytes = prints("print('\\255\\255')");
    assert_eq!(bytes.lines, ["\u{fffd}\u{fffd}"]);
}

#[test]
fn a_source_that_is_not_here_is_asked_for() {
    let mut bench = Bench::new();
    let source = "function outgoing(m) return { messageBody = '' } end";
    let input = input("");
    let call = |source| Call {
        owner: UserId(2),
        hash: SourceHash([1; 32]),
        source,
        direction: Direction::Outgoing,
        input: &input,
        seed: 0,
    };
    assert!(bench.0.run(call(None)).is_none());
    assert!(bench.0.run(call(Some(source))).unwrap().outcome.is_ok());
    assert!(bench.0.run(call(None)).unwrap().outcome.is_ok());
}

#[test]
fn states_are_bounded_and_the_longest_unused_go_first() {
    let room = 4 * MIB;
    let mut bench = Bench(Luau::new(RunLimits { states_bytes: room, ..limits() }).unwrap());
    let source = "function outgoing(m) return { messageBody = '' } end";
    for owner in 1..=100 {
        assert!(bench.ran(owner, Direction::Outgoing, source, "").outcome.is_ok());
        assert!(bench.ran(1, Direction::Outgoing, source, "").outcome.is_ok());
        assert!(bench.0.states().1 <= room);
    }
    assert!(bench.0.states.contains_key(&UserId(1)) && bench.0.states.contains_key(&UserId(100)));
    assert!(!bench.0.states.contains_key(&UserId(2)));
    let garbage = "function outgoing(m) local t = table.create(3000, 1) return { messageBody = '' } end";
    for _ in 0..100 {
        assert!(bench.ran(1, Direction::Outgoing, garbage, "").outcome.is_ok());
        assert!(bench.0.states().1 <= room);
    }
    let sum: u64 = bench.0.states.values().map(|state| state.bytes).sum();
    assert_eq!(sum, bench.0.states().1);
}

#[test]
fn bytecode_is_refused() {
    let mut bench = Bench::new();
    for source in ["\u{6}\u{3}abc", "\u{0}", "\u{1b}Lua", "function incoming() end \u{1}"] {
        let failure = bench.failure(source);
        assert_eq!(failure.kind, FailureKind::Compile, "{failure}");
        assert!(failure.detail.contains("must be source text"), "{failure}");
    }
}

fn checked(source: &str) -> Vec<(Severity, u32, u32, String)> {
    let found = Bench::new().0.check(Direction::Incoming, source).unwrap();
    found.into_iter().map(|found| (found.severity, found.line, found.column, found.message)).collect()
}

#[test]
fn a_check_names_line_and_column() {
    let cases = [
        ("function incoming(m)\n  return ) + 1\nend", 2, 10, "got ')'"),
        ("function incoming(m)\n  local x = f(1) + g(2)) + 3\nend", 2, 24, "got ')'"),
        ("function incoming(m)\n  return 1", 2, 11, "Expected 'end'"),
        ("local x = 1", 1, 1, "defines no function `incoming`"),
        ("incoming = 5", 1, 1, "`incoming` is a number"),
        ("error('no')", 1, 1, "no"),
        ("local function incoming() end", 1, 1, "defines no function"),
    ];
    for (source, line, column, says) in cases {
        let found = checked(source);
        let [(severity, at_line, at_column, message)] = found.as_slice() else { panic!("{source}: {found:?}") };
        assert_eq!((*severity, *at_line, *at_column), (Severity::Error, line, column), "{source}: {message}");
        assert!(message.contains(says), "{source}: {message}");
    }
    assert_eq!(Bench::new().0.check(Direction::Incoming, "while true do end").unwrap_err().kind, FailureKind::CpuLimit);
}

#[test]
fn a_check_warns_of_what_is_not_here_and_of_nothing_else() {
    let good = "-- require this\nlocal function helper(load, io) return io(load) end\nlocal t = { require = 1, io = 2 }
        function mine() end
        function incoming(m) mine() t.require = helper; m:debug(); print('loadstring', os.time(), string.format(''))
        for wait in pairs(t) do wait() end local script = [[ require ]]
        return { action = 'FORWARD' } end";
    assert_eq!(checked(good), []);
    let bad = "function incoming(m)\n  local x = require('x')\n  os.execute('ls')\n  foo(1)\n  return io.open\nend";
    let found: Vec<(u32, u32)> = checked(bad).into_iter().map(|(_, line, column, _)| (line, column)).collect();
    assert_eq!(found, [(2, 13), (3, 3), (4, 3), (5, 10)]);
}
