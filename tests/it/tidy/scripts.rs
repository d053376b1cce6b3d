//! The Lua scripts: their headers tell the truth, and each is declared.

use std::collections::BTreeSet;

use super::{
    files::{File, expect_no_fault, library, under},
    rust::Rust,
};

const DECLARATIONS: &str = "src/store/redis/scripts.rs";
const TYPES: &[&str] = &["STRING", "HASH", "ZSET", "SET", "LIST", "STREAM"];

/// Lines of code that one atomic verb may take: Redis runs it alone.
const MOST_LINES: usize = 80;

const GOOD: &str = "\
#!lua flags=allow-oom
-- take: hand it over.
--
-- KEYS[1]  record   STRING  {xx}:pkce:<digest>
-- ARGV[1]  request  16 bytes
-- ARGV[2]  grace    ms
--
-- Returns  {\"taken\", request}
--          {\"absent\", request}
--
-- Why Lua: GETDEL loses it when its reply is lost.
local record, request, grace = KEYS[1], ARGV[1], ARGV[2]
if not redis.call('GET', record) then return {'absent', request} end -- KEYS[9]
return {'taken', request}
";

#[test]
fn headers_tell_the_truth() {
    let scripts = under("lua", "lua");
    assert!(!scripts.is_empty(), "the scripts are not where they were");
    expect_no_fault(scripts.iter().flat_map(header));

    assert_eq!(header(&example(GOOD)), [] as [String; 0]);
    for (good, bad) in [
        ("#!lua flags=allow-oom\n", "#!lua flags=allow-everything\n"),
        ("#!lua flags=allow-oom\n", "-- first\n#!lua\n"),
        ("-- take: hand it over.\n", "-- Hands it over.\n"),
        ("STRING ", "BLOB "),
        ("-- ARGV[2]  grace    ms\n", ""),
        ("-- ARGV[2]  grace", "-- ARGV[3]  grace"),
        ("ARGV[1], ARGV[2]", "ARGV[1], ARGV[3]"),
        ("ARGV[1], ARGV[2]", "ARGV[1], ARGV[1]"),
        ("KEYS[1], ", "'vst:{00}:pkce:x', "),
        ("-- Returns  ", "-- Gives "),
        ("--          {\"absent\", request}\n", ""),
        ("return {'taken'", "return {'got'"),
        ("-- Why Lua:", "-- Because:"),
    ] {
        assert!(GOOD.contains(good), "{good}");
        assert!(!header(&example(&GOOD.replacen(good, bad, 1))).is_empty(), "{good} -> {bad}");
    }
}

fn header(file: &File) -> Vec<String> {
    let (first, rest) = file.text.split_once('\n').unwrap_or_default();
    let comment: Vec<_> = rest.lines().take_while(|line| line.starts_with("--")).collect();
    let body = without_comments(rest);
    let mut faults = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            faults.push(file.fault(1, what));
        }
    };

    let flags = first.strip_prefix("#!lua").map(|flags| flags.trim().trim_start_matches("flags="));
    let known = |flag| ["", "allow-oom", "no-writes"].contains(&flag);
    check(flags.is_some_and(|flags| flags.split(',').all(known)), "line 1 is `#!lua flags=…`");
    let purpose = format!("-- {}: ", stem(&file.path));
    check(
        comment.first().is_some_and(|line| line.starts_with(&purpose)),
        "line 2 is the verb and its purpose",
    );
    for (list, body_uses) in [("KEYS", indexes(&body, "KEYS")), ("ARGV", indexes(&body, "ARGV"))] {
        let told: Vec<_> = comment.iter().filter_map(|line| entry(line, list)).collect();
        let in_order = told.iter().enumerate().all(|(n, (told, _))| *told == n + 1);
        check(in_order, &format!("the header counts {list} from 1 on, without a gap"));
        check(
            body_uses == (1..=told.len()).collect(),
            &format!("the header tells {} {list}, the body uses {body_uses:?}", told.len()),
        );
        for (_, text) in told.iter().filter(|_| list == "KEYS") {
            let typed = text.split_whitespace().any(|word| TYPES.contains(&word));
            check(typed, &format!("the header tells no type for:{text}"));
        }
    }
    let returns = comment.iter().position(|line| line.starts_with("-- Returns  "));
    check(returns.is_some(), "the header tells what it Returns");
    let returns = comment[returns.unwrap_or(comment.len())..].join("\n");
    // A reply is returned where it is made, or gathered under this name.
    let mut given = words(&body, "return {'", '\'');
    given.extend(words(&body, "reply = {'", '\''));
    let told = words(&returns, "{\"", '"');
    check(told == given, &format!("the header tells the replies {told:?}, the body has {given:?}"));
    check(comment.iter().any(|line| line.starts_with("-- Why Lua: ")), "it says `Why Lua: …`");
    faults
}

#[test]
fn no_script_holds_redis_for_long() {
    expect_no_fault(under("lua", "lua").iter().filter_map(too_long));

    let lines = |n: usize| example(&format!("{GOOD}{}", "-- told\n\nlocal x\n".repeat(n)));
    assert_eq!(too_long(&lines(MOST_LINES - 3)), None);
    assert!(too_long(&lines(MOST_LINES)).is_some());
}

fn too_long(file: &File) -> Option<String> {
    let lines = without_comments(&file.text).lines().filter(|l| !l.trim().is_empty()).count();
    (lines > MOST_LINES)
        .then(|| file.fault(1, format!("{lines} lines of code, {MOST_LINES} are too many")))
}

#[test]
fn every_script_is_declared_with_its_counts() {
    let declared = Rust::read(&File::read(DECLARATIONS).text);
    assert!(!declared.strings.is_empty());
    let text = File::read(DECLARATIONS).text;
    expect_no_fault(declarations(&text, &under("lua", "lua")));

    let script = [File::example("lua/pkce/take.lua", GOOD)];
    let good = "script!(PKCE_TAKE, \"pkce/take\", keys: 1, argv: 2);";
    assert_eq!(declarations(good, &script), [] as [String; 0]);
    for bad in [
        "",
        "script!(PKCE_TAKE, \"pkce/take\", keys: 2, argv: 2);",
        "script!(PKCE_TAKE, \"pkce/take\", keys: 1, argv: 1);",
        "script!(TAKE, \"pkce/take\", keys: 1, argv: 2);",
        &format!("{good}\n{good}"),
        &format!("{good}\nscript!(PKCE_GONE, \"pkce/gone\", keys: 1, argv: 1);"),
    ] {
        assert_eq!(declarations(bad, &script).len(), 1, "{bad}");
    }
}

/// The compiler counts what each call passes; this compares what it counts with, to the script.
fn declarations(text: &str, scripts: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut declared = BTreeSet::new();
    for declaration in text.split("\nscript!(").skip(usize::from(!text.starts_with("script!("))) {
        let inside = declaration.trim_start_matches("script!(").split(')').next().unwrap_or("");
        let inside: String = inside.chars().filter(|c| !c.is_whitespace()).collect();
        let mut parts = inside.split(',');
        let (name, file) =
            (parts.next().unwrap_or(""), parts.next().unwrap_or("").replace('"', ""));
        let path = format!("lua/{file}.lua");
        let Some(script) = scripts.iter().find(|script| script.path == path) else {
            faults.push(format!("{DECLARATIONS}: {path} is declared and does not exist"));
            continue;
        };
        let body = without_comments(&script.text);
        let most = |list| indexes(&body, list).last().copied().unwrap_or(0);
        let counts = format!("keys:{},argv:{}", most("KEYS"), most("ARGV"));
        if name != file.replace('/', "_").to_uppercase()
            || parts.collect::<Vec<_>>().join(",") != counts
        {
            faults.push(format!("{DECLARATIONS}: {path} has {counts}, declared as {inside}"));
        }
        if !declared.insert(path) {
            faults.push(format!("{DECLARATIONS}: {file} is declared twice"));
        }
    }
    let missing = scripts.iter().filter(|script| !declared.contains(&script.path));
    faults.extend(missing.map(|script| script.fault(1, "it is not declared")));
    faults
}

#[test]
fn lua_is_read_in_one_place() {
    expect_no_fault(library().iter().flat_map(reads_lua));

    let bad = "const X: &str = include_str!(\"../lua/pkce/take.lua\");";
    assert_eq!(reads_lua(&File::example("src/pkce/mod.rs", bad)).len(), 1);
    let inline = "fn f() { redis::Script::new(\"return redis.call('GET', KEYS[1])\"); }";
    assert_eq!(reads_lua(&File::example("src/store/redis/mod.rs", inline)).len(), 1);
    let readme = "#![doc = include_str!(\"../README.md\")]";
    assert!(reads_lua(&File::example("src/lib.rs", readme)).is_empty());
}

fn reads_lua(file: &File) -> Vec<String> {
    if file.path == DECLARATIONS {
        return Vec::new();
    }
    let strings = Rust::read(&file.text).strings;
    let lua = |text: &str| {
        ["lua/", ".lua", "redis.call", "redis.pcall", "#!lua"]
            .iter()
            .any(|mark| text.contains(mark))
    };
    let found = strings.iter().filter(|(_, text)| lua(text));
    found.map(|(line, text)| file.fault(*line, format!("Lua is not for here: {text}"))).collect()
}

fn example(text: &str) -> File {
    File::example("lua/pkce/take.lua", text)
}

fn stem(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path).trim_end_matches(".lua")
}

fn without_comments(lua: &str) -> String {
    lua.lines()
        .filter(|line| !line.starts_with("#!"))
        .map(|line| line.split("--").next().unwrap_or_default().to_owned() + "\n")
        .collect()
}

/// Of `-- KEYS[2]  due  ZSET`, 2 and the rest.
fn entry<'a>(line: &'a str, list: &str) -> Option<(usize, &'a str)> {
    let (number, rest) =
        line.strip_prefix("-- ")?.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
    Some((number.parse().ok()?, rest))
}

/// The numbers in all `KEYS[n]`; one that is computed counts as 0, which no header tells.
fn indexes(body: &str, list: &str) -> BTreeSet<usize> {
    let open = format!("{list}[");
    body.split(&open)
        .skip(1)
        .map(|rest| rest.split(']').next().and_then(|n| n.parse().ok()).unwrap_or(0))
        .collect()
}

/// The words between `open` and `close`, as the first of a reply.
fn words(text: &str, open: &str, close: char) -> BTreeSet<String> {
    let found = text.split(open).skip(1).filter_map(|rest| rest.split(close).next());
    found.map(str::to_owned).collect()
}
