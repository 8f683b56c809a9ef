//! What scripts may include and import: every operation, by both ways.

use parlor::config::jolie::JolieOptions;

use super::{answer, answering, incoming, options, workers};
use crate::jolie::{FailureKind, failure};

/// What is done, what it gives.
const STRINGS: [(&str, &str); 27] = [
    ("length@StringUtils( \"häuser\" )( x )", "6"),
    ("trim@StringUtils( \"  a b \" )( x )", "a b"),
    ("toLowerCase@StringUtils( \"ÄB\" )( x )", "äb"),
    ("toUpperCase@StringUtils( \"äb\" )( x )", "ÄB"),
    ("contains@StringUtils( \"abc\" { .substring = \"bc\" } )( x )", "true"),
    ("startsWith@StringUtils( \"abc\" { .prefix = \"bc\" } )( x )", "false"),
    ("endsWith@StringUtils( \"abc\" { .suffix = \"bc\" } )( x )", "true"),
    ("indexOf@StringUtils( \"abc\" { .word = \"c\" } )( x )", "2"),
    ("indexOf@StringUtils( \"abc\" { .word = \"d\" } )( x )", "-1"),
    ("substring@StringUtils( \"abcd\" { .begin = 1, .end = 3 } )( x )", "bc"),
    ("substring@StringUtils( \"abcd\" { .begin = 1 } )( x )", "bcd"),
    ("substring@StringUtils( \"abcd\" { .begin = 1, .end = 99 } )( x )", "bcd"),
    ("replaceAll@StringUtils( \"a1b2\" { .regex = \"[0-9]\", .replacement = \"-\" } )( x )", "a-b-"),
    ("replaceFirst@StringUtils( \"a1b2\" { .regex = \"[0-9]\", .replacement = \"-\" } )( x )", "a-b2"),
    ("match@StringUtils( \"a1\" { .regex = \"([a-z])([0-9])\" } )( m ); x = m + m.group[0] + m.group[2]", "1a11"),
    ("match@StringUtils( \"a1!\" { .regex = \"[a-z][0-9]\" } )( x )", "0"),
    ("find@StringUtils( \"xx a1\" { .regex = \"([a-z])[0-9]\" } )( m ); x = m + m.group[1]", "1a"),
    ("split@StringUtils( \"a,b,c\" { .regex = \",\" } )( s ); x = #s.result + s.result[2]", "3c"),
    ("split@StringUtils( \"a,b,c\" { .regex = \",\", .limit = 2 } )( s ); x = s.result[1]", "b,c"),
    ("j.piece[0] = \"a\"; j.piece[1] = \"b\"; j.delimiter = \"-\"; join@StringUtils( j )( x )", "a-b"),
    (
        "leftPad@StringUtils( \"7\" { .length = 3, .char = \"0\" } )( l ); rightPad@StringUtils( l { .length = 5, .char = \"!\" } )( x )",
        "007!!",
    ),
    ("splitByLength@StringUtils( \"abcde\" { .length = 2 } )( s ); x = #s.result + s.result[2]", "3e"),
    ("urlEncode@StringUtils( \"a b/ä\" )( x )", "a+b%2F%C3%A4"),
    ("urlDecode@StringUtils( \"a+b%2F%C3%A4\" )( x )", "a b/ä"),
    (
        "v.a = 1; v.b.c = \"x\"; valueToPrettyString@StringUtils( v )( p ); contains@StringUtils( p { .substring = \"c:string = \" } )( x )",
        "true",
    ),
    (
        "getRandomUUID@StringUtils()( u ); match@StringUtils( u { .regex = \"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\" } )( x )",
        "1",
    ),
    ("l.item[0] = \"b\"; l.item[1] = \"a\"; sort@StringUtils( l )( s ); x = s.item[0] + s.item[1]", "ab"),
];
const OTHERS: [(&str, &str, &str); 13] = [
    ("math", "abs@Math( -3 )( x )", "3"),
    ("math", "round@Math( 2.567 { .decimals = 1 } )( x )", "2.6"),
    ("math", "pow@Math( { .base = 2.0, .exponent = 10.0 } )( x )", "1024.0"),
    ("math", "random@Math()( a ); random@Math()( b ); x = ( a != b ) && a >= 0.0 && a < 1.0", "true"),
    ("time", "getCurrentTimeMillis@Time()( x )", "1700000000000"),
    ("time", "getCurrentDateTime@Time()( x )", "14/11/2023 22:13:20"),
    ("time", "getCurrentDateValues@Time()( d ); x = d.day + \".\" + d.month + \".\" + d.year", "14.11.2023"),
    ("time", "getDateValues@Time( \"29/02/2024\" )( d ); x = d.day + \".\" + d.month", "29.2"),
    ("time", "getTimestampFromString@Time( \"14/11/2023 22:13:20\" )( x )", "1700000000000"),
    ("time", "sleep@Time( 1 )(); x = 1", "1"),
    ("time", "getDateTime@Time( 0L { .format = \"yyyy\" } )( x )", "1970"),
    ("json_utils", "getJsonValue@JsonUtils( \"{\\\"a\\\": [1, {\\\"b\\\": null}]}\" )( v ); x = #v.a", "2"),
    ("json_utils", "v.a = 1; v.a[1] = 2L; getJsonString@JsonUtils( v )( x )", "{\"a\":[1,2]}"),
];

fn services() -> Vec<(&'static str, &'static str, &'static str)> {
    STRINGS.iter().map(|(does, gives)| ("string_utils", *does, *gives)).chain(OTHERS).collect()
}

/// The name of the service in that file.
fn name(file: &str) -> String {
    file.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

#[tokio::test]
async fn every_operation_gives_what_its_documentation_says_included_or_imported() {
    let workers = workers(&options(JolieOptions { wall_ms: 60_000, ..Default::default() })).await;
    for (file, does, gives) in services() {
        let include = if file == "json_utils" { String::new() } else { format!("include \"{file}.iol\"") };
        let ran = incoming(
            &workers,
            2,
            &answering(&include, "string( x )").replace("result.action", &format!("{does};\n  result.action")),
        )
        .await;
        assert_eq!(answer(&ran), gives, "{file}: {does}");
        let service = name(file);
        let import = if file == "json_utils" { String::new() } else { format!("from {file} import {service}\n") };
        let embed = if file == "json_utils" { String::new() } else { format!("  embed {service} as {service}\n") };
        let source = format!(
            "from console import Console\nfrom json_utils import JsonUtils\n{import}\nservice Main {{\n  embed Console as \
             Console\n  embed JsonUtils as JsonUtils\n{embed}  main {{\n    {does};\n    result.action = \"FORWARD\";\n    \
             result.reply.to = 1;\n    result.reply.message = string( x );\n    getJsonString@JsonUtils( result )( json \
             );\n    println@Console( json )()\n  }}\n}}"
        );
        let ran = incoming(&workers, 2, &source).await;
        assert_eq!(answer(&ran), gives, "{file}, imported: {does}");
    }
    workers.stop().await;
}

#[tokio::test]
async fn a_service_that_cannot_do_it_throws_a_fault_that_a_script_can_handle() {
    let workers = workers(&options(JolieOptions { wall_ms: 60_000, ..Default::default() })).await;
    for (does, fault) in [
        ("getJsonValue@JsonUtils( \"{\" )( x )", "JSONParseError"),
        ("substring@StringUtils( \"abc\" { .begin = 4 } )( x )", "IndexOutOfBounds"),
        ("match@StringUtils( \"abc\" { .regex = \"(\" } )( x )", "InvalidRegex"),
        ("replaceAll@StringUtils( \"a\" { .regex = \"a\", .replacement = \"$9\" } )( x )", "InvalidReplacement"),
        ("leftPad@StringUtils( \"a\" { .length = 9, .char = \"ab\" } )( x )", "InvalidCharacter"),
        ("getCurrentDateTime@Time( { .format = \"?!b\" } )( x )", "InvalidFormat"),
        ("getDateValues@Time( \"31/02/2024 or so\" )( x )", "InvalidDate"),
        ("splitByLength@StringUtils( \"a\" { .length = 0 } )( x )", "InvalidLength"),
        ("urlDecode@StringUtils( \"%x\" )( x )", "InvalidText"),
        ("length@StringUtils( 5 { .x = 1 } )( x )", "TypeMismatch"),
    ] {
        let include = "include \"string_utils.iol\"\ninclude \"time.iol\"";
        let unhandled = answering(include, "\"x\"").replace("result.action", &format!("{does};\n  result.action"));
        let ran = incoming(&workers, 2, &unhandled).await;
        let (kind, detail) = failure(&ran);
        assert!(kind == FailureKind::Error && detail.starts_with(fault), "{does}: {detail}");
        let handled = format!("scope( s ) {{ install( {fault} => x = \"handled\" ); {does} }};\n  result.action");
        let ran = incoming(&workers, 2, &answering(include, "x").replace("result.action", &handled)).await;
        assert_eq!(answer(&ran), "handled", "{does}");
    }
    workers.stop().await;
}
