//! Documents that would rot: what they promise is looked up in the code.

use std::{fs, path::Path};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every link of the README and of the documents to a file of the project leads somewhere.
#[test]
fn links_lead_somewhere() {
    for document in [
        "README.md",
        "lua/README.md",
        "docs/architecture.md",
        "docs/keyspace.md",
        "docs/metrics.md",
        "docs/operations.md",
        "docs/parity.md",
        "docs/redis-cli.md",
        "docs/traces.md",
    ] {
        let folder = Path::new(document).parent().unwrap();
        for link in read(document).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
                assert!(path.exists(), "{document} links to {target}");
            }
        }
    }
}

/// The README's first screen has the two commands, and the Makefile has the targets.
#[test]
fn the_two_commands_are_on_the_first_screen() {
    let readme = read("README.md");
    let screen: String = readme.lines().take(24).collect::<Vec<_>>().join("\n");
    for command in ["make demo", "make test", "make prove", "make bench"] {
        assert!(screen.contains(command), "{command}");
        let target = format!("\n{}:", command.trim_start_matches("make "));
        assert!(read("Makefile").contains(&target), "{target}");
    }
}

/// docs/keyspace.md names every field that a script writes.
#[test]
fn the_document_tells_every_field() {
    let document = read("docs/keyspace.md");
    let told = |word: &str| document.contains(&format!("`{word}`"));
    let record = read("lua/connection/record.lua");
    let tables = record.lines().skip_while(|line| line.starts_with("--"));
    let tables: String = tables.take_while(|line| !line.is_empty()).collect();
    for field in tables.split('\'').skip(1).step_by(2) {
        assert!(told(field), "record: {field}");
    }
    for script in ["store", "begin", "renew", "commit", "fail", "retry"] {
        let lua = read(&format!("lua/connection/{script}.lua"));
        for put in lua.split("put('").skip(1) {
            let field = put.split('\'').next().unwrap();
            assert!(told(field), "{script}: {field}");
        }
        for call in lua.split("redis.call(").skip(1).filter(|call| call.starts_with("'HSET'")) {
            let call = call.split(")\n").next().unwrap().split(") --").next().unwrap();
            let mut words = call.split('\'').skip(3).step_by(2);
            let values = ["active", "needs_reauth", "%d"];
            assert!(words.all(|word| values.contains(&word) || told(word)), "{script}: {call}");
        }
    }
}

/// docs/operations.md names every command and its exit codes.
#[test]
fn the_document_tells_every_command() {
    let document = read("docs/operations.md");
    let commands = read("worker/src/commands/mod.rs");
    let variants = commands.split("pub enum Command {").nth(1).unwrap();
    let variants = variants.split("\n}").next().unwrap();
    let lines = variants.lines().map(str::trim);
    let names = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    let mut count = 0;
    for name in names.filter_map(|line| line.split(['(', ',']).next()) {
        count += 1;
        let command = format!("`{}", name.to_lowercase());
        assert!(document.contains(&command), "docs/operations.md does not know {command}`");
    }
    assert!(count >= 15, "{count}");
    for code in ["| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 130 |"] {
        assert!(document.contains(code), "{code}");
    }
}
