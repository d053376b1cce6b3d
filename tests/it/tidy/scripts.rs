//! The Lua scripts: their headers tell the truth, and each is declared.

use std::collections::BTreeSet;

use super::{
    files::{File, expect_no_fault, library, under},
    rust::Rust,
};

const DECLARATIONS: &str = "src/store/redis/scripts.rs";
const TYPES: &[&str] = &["STRING", "HASH", "ZSET", "SET", "LIST", "STREAM"];

/// What a script writes in place of a part that it shares with others.
const INCLUDE: &str = "-- include: ";

/// Lines of code that one atomic verb may take, or a part of one: Redis runs it alone.
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

const PART: &str = "\
-- note: what happened. A part of scripts, not one.
local function note(stream, what) redis.call('XADD', stream, '*', 'type', what) end
";

/// The scripts, and the parts that they include.
fn scripts_and_parts() -> [Vec<File>; 2] {
    let (scripts, parts) = under("lua", "lua").into_iter().partition(|file| !is_part(file));
    [scripts, parts]
}

fn is_part(file: &File) -> bool {
    file.text.lines().next().is_some_and(|line| line.ends_with("A part of scripts, not one."))
}

#[test]
fn headers_tell_the_truth() {
    let [scripts, _] = scripts_and_parts();
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
fn a_part_is_declared_and_included_and_is_no_script() {
    let [scripts, parts] = scripts_and_parts();
    assert!(!parts.is_empty(), "the parts are not where they were");
    expect_no_fault(part_faults(&File::read(DECLARATIONS).text, &scripts, &parts));

    let uses = |text: &str| [example(&format!("{GOOD}{text}"))];
    let part = |text: &str| [File::example("lua/event/note.lua", text)];
    let (good, declared) = ("-- include: event/note\n", "\nparts!(\"event/note\");\n");
    assert_eq!(part_faults(declared, &uses(good), &part(PART)), [] as [String; 0]);
    assert_eq!(part_faults("", &uses(good), &part(PART)).len(), 1, "not declared");
    assert_eq!(part_faults(declared, &uses(""), &part(PART)).len(), 1, "not included");
    assert_eq!(part_faults(declared, &uses(good), &[]).len(), 2, "not there");
    for (good, bad) in
        [("-- note: ", "-- tell: "), ("(stream,", "(KEYS[1],"), ("what)", "ARGV[1])")]
    {
        let spoiled = PART.replacen(good, bad, 1);
        assert_eq!(
            part_faults(declared, &uses("-- include: event/note\n"), &part(&spoiled)).len(),
            1
        );
    }
}

/// Its script binds keys and arguments, and tells of them: a part takes them as its own.
fn part_faults(declarations: &str, scripts: &[File], parts: &[File]) -> Vec<String> {
    let name =
        |file: &File| file.path.trim_start_matches("lua/").trim_end_matches(".lua").to_owned();
    let declared = declarations.split("\nparts!(").nth(1).and_then(|list| list.split(')').next());
    let declared = words(declared.unwrap_or_default(), "\"", '"');
    let declared: BTreeSet<_> = declared.into_iter().filter(|name| name.contains('/')).collect();
    let mut included = BTreeSet::new();
    let mut faults = Vec::new();
    for script in scripts.iter().chain(parts) {
        for part in script.text.lines().filter_map(|line| line.strip_prefix(INCLUDE)) {
            if !parts.iter().any(|known| name(known) == part) {
                faults.push(script.fault(1, format!("it includes {part}, which is not there")));
            }
            included.insert(part.to_owned());
        }
    }
    for part in parts {
        let body = without_comments(&part.text);
        let mut check = |holds: bool, what: &str| {
            if !holds {
                faults.push(part.fault(1, what));
            }
        };
        let purpose = format!("-- {}: ", stem(&part.path));
        check(part.text.starts_with(&purpose), "line 1 is its name and its purpose");
        let own = indexes(&body, "KEYS").is_empty() && indexes(&body, "ARGV").is_empty();
        check(own, "keys and arguments are its script's to bind");
        check(included.contains(&name(part)), "no script includes it");
        check(declared.contains(&name(part)), "it is not declared");
    }
    let gone = declared.iter().filter(|known| !parts.iter().any(|part| name(part) == **known));
    faults.extend(gone.map(|part| format!("{DECLARATIONS}: {part} is declared and is not there")));
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
    let [scripts, _] = scripts_and_parts();
    expect_no_fault(declarations(&text, &scripts));

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
