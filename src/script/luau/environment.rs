//! What a script finds around it: an allow-list, built and then frozen.

use std::sync::{Arc, OnceLock};

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, LuaOptions, LuaString, StdLib, Table, Value};

use super::budget::Budget;
use super::clock;

static TRAMPOLINE_CODE: OnceLock<Vec<u8>> = OnceLock::new();
static PRELUDE_CODE: OnceLock<Vec<u8>> = OnceLock::new();
/// The trusted part written in Luau: makes one run.
const TRAMPOLINE: &str = include_str!("trampoline.luau");
/// The trusted part that replaces functions of the library.
const PRELUDE: &str = include_str!("prelude.luau");

/// Functions that a script may call by their own names.
pub(super) const FUNCTIONS: &[&str] = &[
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "next",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "select",
    "setmetatable",
    "tonumber",
    "tostring",
    "type",
    "typeof",
    "unpack",
    "xpcall",
];

/// Libraries, and what of each; what a newer interpreter adds is not there until it stands here.
#[rustfmt::skip]
pub(super) const LIBRARIES: &[(&str, &[&str])] = &[
    ("bit32", &[
        "arshift", "band", "bnot", "bor", "btest", "bxor", "byteswap", "countlz", "countrz", "extract", "lrotate",
        "lshift", "replace", "rrotate", "rshift",
    ]),
    ("buffer", &[
        "copy", "create", "fill", "fromstring", "len", "readbits", "readf32", "readf64", "readi16", "readi32", "readi8",
        "readstring", "readu16", "readu32", "readu8", "tostring", "writebits", "writef32", "writef64", "writei16",
        "writei32", "writei8", "writestring", "writeu16", "writeu32", "writeu8",
    ]),
    ("coroutine", &["close", "create", "isyieldable", "resume", "running", "status", "wrap", "yield"]),
    ("math", &[
        "abs", "acos", "asin", "atan", "atan2", "ceil", "clamp", "cos", "cosh", "deg", "exp", "floor", "fmod", "frexp",
        "huge", "isfinite", "isinf", "isnan", "ldexp", "lerp", "log", "log10", "map", "max", "min", "modf", "noise",
        "pi", "pow", "rad", "random", "randomseed", "round", "sign", "sin", "sinh", "sqrt", "tan", "tanh",
    ]),
    ("os", &["date", "difftime", "time"]),
    ("string", &[
        "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack", "packsize", "rep",
        "reverse", "split", "sub", "unpack", "upper",
    ]),
    ("table", &[
        "clear", "clone", "concat", "create", "find", "foreach", "foreachi", "freeze", "getn", "insert", "isfrozen",
        "maxn", "move", "pack", "remove", "sort", "unpack",
    ]),
    ("utf8", &["char", "charpattern", "codepoint", "codes", "len", "offset"]),
];

/// One owner's interpreter, before any source of theirs is in it.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) lua: Lua,
    /// The metatable of every run's own globals: what is not among them is looked up in the frozen ones.
    pub(super) inherits: Table,
    pub(super) trampoline: Function,
    pub(super) seed: Function,
}

/// How sources are compiled: lines are kept for messages; nothing is inlined, so that no small source grows.
pub(super) fn compiler() -> Compiler {
    Compiler::new().set_optimization_level(1).set_debug_level(1).set_type_info_level(0)
}

impl Environment {
    /// Builds and freezes it.
    pub(super) fn new(budget: &Arc<Budget>) -> mlua::Result<Self> {
        let libs = StdLib::COROUTINE | StdLib::TABLE | StdLib::STRING | StdLib::UTF8;
        // Neither OS nor VECTOR: the one is replaced, the other would give every vector a metatable that can be reached.
        let libs = libs | StdLib::BIT | StdLib::MATH | StdLib::BUFFER | StdLib::DEBUG;
        // A panic is not for a script to catch.
        let lua = Lua::new_with(libs, LuaOptions::new().catch_rust_panics(false))?;
        lua.set_compiler(compiler());
        let globals = lua.globals();
        let trampoline: Function = ours(&lua, &TRAMPOLINE_CODE, TRAMPOLINE)?.call(())?;
        let seed: Function = globals.raw_get::<Table>("math")?.raw_get("randomseed")?;
        replace(&lua, &globals, budget)?;
        globals.raw_set("os", clock::library(&lua, budget)?)?;
        strip(&globals)?;
        let strings: Option<Table> = lua.type_metatable::<LuaString>();
        if let Some(strings) = strings {
            strings.raw_set("__metatable", false)?;
            strings.set_readonly(true);
        }
        let inherits = lua.create_table()?;
        inherits.raw_set("__index", globals)?;
        inherits.set_readonly(true);
        lua.sandbox(true)?;
        let asked = Arc::clone(budget);
        lua.set_interrupt(move |lua| asked.tick(lua));
        Ok(Self { lua, inherits, trampoline, seed })
    }
}

/// A trusted part, compiled once for all states of this process: the only bytecode that is ever loaded. Without lines, so
/// that what it raises does not name places that are not the owner's.
fn ours(lua: &Lua, code: &OnceLock<Vec<u8>>, source: &str) -> mlua::Result<Function> {
    let code = match code.get() {
        Some(code) => code,
        None => {
            let compiled = compiler().set_debug_level(0).compile(source)?;
            code.get_or_init(|| compiled)
        }
    };
    lua.load(code.as_slice()).set_name("=parlor").set_mode(ChunkMode::Binary).into_function()
}

/// Puts `print` into the run's own lines, and keeps addresses out of every text.
fn replace(lua: &Lua, globals: &Table, budget: &Arc<Budget>) -> mlua::Result<()> {
    let (asked, keeper) = (Arc::clone(budget), Arc::clone(budget));
    let full = lua.create_function(move |_, ()| Ok(asked.prints_are_full()))?;
    let keep = lua.create_function(move |_, line: LuaString| {
        keeper.print(&line.as_bytes());
        Ok(())
    })?;
    let strings: Table = globals.raw_get("string")?;
    let (tostring, format): (Function, Function) = (globals.raw_get("tostring")?, strings.raw_get("format")?);
    let prelude = ours(lua, &PRELUDE_CODE, PRELUDE)?;
    let (print, tostring, format): (Function, Function, Function) = prelude.call((full, keep, tostring, format))?;
    globals.raw_set("print", print)?;
    globals.raw_set("tostring", tostring)?;
    strings.raw_set("format", format)
}

/// Takes out everything that is on no list.
fn strip(globals: &Table) -> mlua::Result<()> {
    for name in keys(globals)? {
        let library = LIBRARIES.iter().find(|(library, _)| name == *library);
        match library {
            Some((_, functions)) => {
                let table: Table = globals.raw_get(name.as_str())?;
                for key in keys(&table)?.into_iter().filter(|key| !functions.contains(&key.as_str())) {
                    table.raw_set(key, Value::Nil)?;
                }
                table.set_readonly(true);
            }
            None if FUNCTIONS.contains(&name.as_str()) || name == "_VERSION" => {}
            None => globals.raw_set(name, Value::Nil)?,
        }
    }
    Ok(())
}

fn keys(table: &Table) -> mlua::Result<Vec<String>> {
    table.pairs::<String, Value>().map(|pair| pair.map(|(key, _)| key)).collect()
}
