//! Scopes and their routes: what a temp token may ask for, and all that it may not.

use std::{
    sync::{Barrier, atomic::AtomicUsize, atomic::Ordering},
    thread,
    time::Duration,
};

use proptest::{collection, prelude::*, sample::select};
use vestibule::token::{InvalidScope, MCP_AUTH, MCP_HEADERS_AUTH, Scope, Scopes};

const BASE: &str = "/api/oauth/per-user";
const FLOW: &str = "/api/oauth/per-user/flows/flow-1";
const HOSTILE: &str = include_str!("corpus/hostile_paths.txt");
const GOOD: &str = include_str!("corpus/good_paths.txt");

fn minute(name: &str) -> Scope {
    Scope::new(name).with_max_ttl(Duration::from_secs(60))
}

fn paths(corpus: &str) -> Vec<&str> {
    corpus.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")).collect()
}

/// Scopes that allow the paths of the good corpus to these resources.
fn scopes() -> Vec<(Scope, &'static str)> {
    let start = "/api/oauth/per-user/flows/flow-1/start";
    vec![
        (Scope::mcp_auth(BASE), "flow-1"),
        (Scope::mcp_headers_auth(BASE), "flow-1"),
        (minute("literal").with_route("get", FLOW).with_route("GET", start), "flow-1"),
        (
            minute("part")
                .with_placeholder(":n")
                .with_route("GET", format!("{BASE}/flows/flow-:n")),
            "1",
        ),
        (
            minute("middle").with_placeholder("*").with_route("GET", format!("{BASE}/*/flow-1")),
            "flows",
        ),
    ]
}

/// T-4: of the corpus nothing passes, by any method, for any scope, whatever the query.
#[test]
fn hostile_paths_are_refused_by_every_scope() {
    let hostile = paths(HOSTILE);
    assert!(hostile.len() > 200, "{}", hostile.len());
    for (scope, resource) in scopes() {
        for path in paths(GOOD) {
            assert!(scope.allows("GET", path, resource), "{} must allow {path}", scope.name());
        }
        for path in &hostile {
            for method in ["GET", "PUT", "POST", "get"] {
                for query in ["", "?", "?a=/../b"] {
                    let raw = format!("{path}{query}");
                    assert!(!scope.allows(method, &raw, resource), "{} {raw}", scope.name());
                }
            }
        }
        // As a line of the corpus cannot hold them.
        for raw in ["\0", "\t", "\n", "\r", "\r\nHost: x", "\u{7f}", "\u{85}", "\u{200b}", "é"] {
            assert!(!scope.allows("GET", &format!("{FLOW}{raw}"), resource), "{raw:?}");
        }
    }
}

/// The corpus has teeth: a reader that decodes until nothing changes and then cleans up, as some
/// do, takes half of it for a path that is allowed.
#[test]
fn a_lax_reader_would_let_the_corpus_pass() {
    let good = [lax(FLOW), lax(&format!("{FLOW}/start"))];
    let fooled = paths(HOSTILE).iter().filter(|path| good.contains(&lax(path))).count();
    assert!(fooled > 120, "only {fooled} of {} are attacks", paths(HOSTILE).len());
}

fn lax(path: &str) -> Vec<String> {
    let mut text = path.to_ascii_lowercase();
    for (from, to) in
        [("%c0%af", "/"), ("%e0%80%af", "/"), ("%u002f", "/"), ("%c0%ae", "."), ("%u002e", ".")]
    {
        text = text.replace(from, to);
    }
    while text.contains("%25") {
        text = text.replace("%25", "%");
    }
    for (from, to) in [("%2f", "/"), ("%5c", "/"), ("\\", "/"), ("%2e", "."), ("%3b", ";")] {
        text = text.replace(from, to);
    }
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/') {
        let ends = [segment.find(';'), segment.find('%')];
        let end = ends.into_iter().flatten().min().unwrap_or(segment.len());
        match segment[..end].trim_matches(['.', ' ', '+']) {
            "" if segment.starts_with("..") => drop(segments.pop()),
            "" => {}
            segment => segments.push(segment.to_owned()),
        }
    }
    segments
}

/// T-4: the resource is what the path must name; one that cannot stand in a path reaches nothing.
#[test]
fn no_resource_opens_another_path() {
    let scope = Scope::mcp_auth(BASE);
    let odd = [
        "",
        ".",
        "..",
        "/",
        "flow-1/start",
        "../flow-1",
        "a/../flow-1",
        "%2e%2e",
        "flow-1%2Fstart",
        "flow-1;",
        "a\\b",
        "a\nb",
        "a\0b",
        "\u{7f}",
        "\u{9b}",
    ];
    for resource in odd {
        assert!(!scope.can_reach(resource), "{resource:?}");
        for path in paths(HOSTILE).into_iter().chain(paths(GOOD)) {
            assert!(!scope.allows("GET", path, resource), "{resource:?} reaches {path}");
        }
        let plain = format!("{BASE}/flows/{resource}");
        assert!(!scope.allows("GET", &plain, resource), "{resource:?}");
        let encoded = format!("{BASE}/flows/{}", encode(resource, &[true]));
        assert!(!scope.allows("GET", &encoded, resource), "{resource:?}");
    }
    for resource in
        ["{id}", "{", "}", "%", "100%", "%%", "a b", "é", "?", "#", "a?b#c", "*", "~", "…"]
    {
        let encoded = format!("{BASE}/flows/{}", encode(resource, &[true]));
        assert!(scope.can_reach(resource) && scope.allows("GET", &encoded, resource), "{encoded}");
        assert!(!scope.allows("GET", &encoded, "other"), "{encoded}");
    }
    // A path is ASCII; what is not, or would begin a fragment, is the resource only when encoded.
    for (resource, raw) in [("é", "é"), ("a#b", "a#b"), ("a b", "a b"), ("\u{fffd}", "%ff")] {
        assert!(!scope.allows("GET", &format!("{BASE}/flows/{raw}"), resource), "{raw}");
    }
    // A part of a segment is no smaller a gate.
    let part = minute("part").with_placeholder("{id}").with_route("GET", "/f/x{id}");
    for (resource, raw) in [("", "x"), (".", "x."), ("..", "x..")] {
        assert!(!part.allows("GET", &format!("/f/{raw}"), resource), "{raw}");
    }
    // Without a placeholder the resource is not in the path.
    let literal = minute("literal").with_route("GET", FLOW);
    assert!(literal.allows("GET", FLOW, "") && literal.allows("GET", FLOW, "a/../b"));
}

/// T-4: a method is compared without its case, and is otherwise exact.
#[test]
fn methods_are_exact_but_for_their_case() {
    let scope = Scope::mcp_headers_auth(BASE);
    for method in ["GET", "get", "Get", "PUT", "pUT"] {
        assert!(scope.allows(method, FLOW, "flow-1"), "{method}");
    }
    for method in ["", "HEAD", "POST", "PATCH", "DELETE", "GET ", " GET", "GE", "GETT", "G\0T", "*"]
    {
        assert!(!scope.allows(method, FLOW, "flow-1"), "{method:?}");
    }
}

/// T-4: a long path costs no more than a look at its length.
#[test]
fn long_paths_are_refused() {
    let scope = Scope::mcp_auth(BASE);
    let fits = "a".repeat(2048 - BASE.len() - "/flows/".len());
    assert!(scope.allows("GET", &format!("{BASE}/flows/{fits}?{fits}"), &fits));
    assert!(!scope.allows("GET", &format!("{BASE}/flows/{fits}a"), &format!("{fits}a")));
    for part in ["/", "%", "%2e%2e/", "a/", "%25", ";"] {
        assert!(!scope.allows("GET", &format!("{FLOW}{}", part.repeat(1 << 20)), "flow-1"));
    }
}

proptest! {
    /// T-4: every plain resource matches its own path, however it is encoded, and nothing else.
    #[test]
    fn a_resource_matches_its_own_path_only(
        (resource, other) in (resources(), resources()),
        choice in collection::vec(any::<bool>(), 1..16),
        more in resources(),
    ) {
        let scope = Scope::mcp_auth(BASE);
        let path = |resource: &str| format!("{BASE}/flows/{}", encode(resource, &choice));
        let expected = is_plain(&resource);
        prop_assert_eq!(scope.can_reach(&resource), expected);
        prop_assert_eq!(scope.allows("GET", &path(&resource), &resource), expected);
        let start = path(&resource) + "/start";
        prop_assert_eq!(scope.allows("GET", &start, &resource), expected);
        prop_assert!(resource == other || !scope.allows("GET", &path(&other), &resource));
        let extra = format!("{}/{}", path(&resource), encode(&more, &choice));
        prop_assert!(more == "start" || !scope.allows("GET", &extra, &resource));
        prop_assert!(!scope.allows("GET", &(path(&resource) + "/"), &resource));
    }

    /// T-4: whatever comes, nothing panics, and what is allowed is one of the two paths.
    #[test]
    fn any_bytes_are_a_path_or_a_refusal(
        bytes in collection::vec(prop_oneof![any::<u8>(), select(&b"/%.;2fFeE5cC\\{id}"[..])], 0..64),
        resource in resources(),
    ) {
        let raw = String::from_utf8_lossy(&bytes);
        let scope = minute("any").with_placeholder("{id}").with_route("GET", "/{id}");
        for path in [raw.to_string(), format!("/{raw}"), format!("/%{raw}")] {
            if scope.allows("GET", &path, &resource) {
                let segment = path.split('?').next().unwrap_or_default();
                prop_assert_eq!(decode(&segment[1..]), resource.as_bytes());
            }
        }
    }
}

/// Any text, and often one that is made to confuse.
fn resources() -> impl Strategy<Value = String> {
    const PARTS: &[&str] =
        &["a", "/", "%", "2", "f", "2e", ".", "..", "{id}", "{", "}", "\n", "\\", ";", "é"];
    prop_oneof![
        any::<String>(),
        collection::vec(select(PARTS), 0..5).prop_map(|parts| parts.concat()),
        "[a-z0-9-]{1,12}",
    ]
}

/// What it takes to be a segment, said again and otherwise than the library says it.
fn is_plain(text: &str) -> bool {
    let hex = |c: Option<char>| c.is_some_and(|c| c.is_ascii_hexdigit());
    let percent = text.char_indices().filter(|(_, c)| *c == '%').any(|(at, _)| {
        let mut next = text[at + 1..].chars();
        hex(next.next()) && hex(next.next())
    });
    let special = text.chars().any(|c| c.is_control() || "/\\;".contains(c));
    !(text.is_empty() || text == "." || text == ".." || special || percent)
}

/// Percent-encoded; what need not be is, where `choice` says so, in upper or lower case.
fn encode(text: &str, choice: &[bool]) -> String {
    let mut encoded = String::new();
    for (byte, encoding) in text.bytes().zip(choice.iter().cycle()) {
        match (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte), encoding) {
            (true, false) => encoded.push(char::from(byte)),
            (_, true) => encoded += &format!("%{byte:02X}"),
            (false, false) => encoded += &format!("%{byte:02x}"),
        }
    }
    encoded
}

fn decode(raw: &str) -> Vec<u8> {
    let mut parts = raw.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        decoded.push(u8::from_str_radix(&part[..2], 16).unwrap());
        decoded.extend(part[2..].bytes());
    }
    decoded
}

/// T-3: what could allow nothing, or too much, is refused by name, and nothing is registered.
#[test]
fn useless_and_dangerous_scopes_are_refused() {
    let scopes = Scopes::new();
    let good = || minute("a").with_placeholder("{id}").with_route("GET", "/a/{id}");
    let path = |path: &str| minute("a").with_route("GET", path);
    let long = format!("/{}", "a".repeat(2048));
    let refused: [(Scope, &str); 28] = [
        (minute("").with_route("GET", "/a"), "a scope's name"),
        (minute("a b").with_route("GET", "/a"), "a scope's name"),
        (minute(&"a".repeat(65)).with_route("GET", "/a"), "a scope's name"),
        (minute("a"), "scope a has no routes"),
        (Scope::new("a").with_route("GET", "/a"), "maximum TTL"),
        (good().with_max_ttl(Duration::ZERO), "maximum TTL"),
        (good().with_max_ttl(Duration::from_micros(999)), "maximum TTL"),
        (good().with_max_ttl(Duration::MAX), "maximum TTL"),
        (good().with_max_uses(0), "1 to 1000 uses, not 0"),
        (good().with_max_uses(1001), "1 to 1000 uses, not 1001"),
        (good().with_max_uses(u32::MAX), "1 to 1000 uses"),
        (good().with_route("GET", "/a"), "route 2 of scope a: its pattern has no placeholder"),
        (minute("a").with_placeholder("/").with_route("GET", "/a"), "route 1 of scope a"),
        (good().with_route("", "/{id}"), "route 2 of scope a: its method"),
        (good().with_route("G T", "/{id}"), "its method"),
        (path(""), "its pattern must begin with /"),
        (path("a"), "pattern"),
        (path("/"), "pattern"),
        (path("/a/"), "pattern"),
        (path("/a//b"), "pattern"),
        (path("/a/./b"), "pattern"),
        (path("/a/../b"), "pattern"),
        (path("/a;b"), "pattern"),
        (path("/a\\b"), "pattern"),
        (path("/a%20b"), "pattern"),
        (path("/a?b"), "pattern"),
        (path("/a\nb"), "pattern"),
        (path(&long), "pattern"),
    ];
    for (scope, says) in refused {
        let error = scopes.register(scope.clone()).unwrap_err().to_string();
        assert!(error.contains(says), "{scope:?}: {error}");
        assert!(!error.contains('\n') && error.len() < 300, "{error}");
    }
    assert_eq!(scopes.names(), [] as [String; 0]);

    scopes.register(good()).unwrap();
    let twice = scopes.register(good().with_max_uses(1)).unwrap_err();
    assert_eq!(twice, InvalidScope::Twice { scope: "a".to_owned() });
    assert_eq!(scopes.lookup("a").unwrap().max_uses(), None, "the first one stays");
    assert!(scopes.lookup("b").is_none() && scopes.lookup("").is_none());
}

/// T-3: a registry grows while it is used, through any handle, until it is frozen.
#[test]
fn a_registry_grows_until_it_is_frozen() {
    let (scopes, other) = (Scopes::new(), Scopes::new());
    let handle = scopes.clone();
    handle.register(minute("late").with_route("GET", "/late").with_max_uses(3).bound()).unwrap();
    let late = scopes.lookup("late").unwrap();
    assert_eq!((late.name(), late.max_ttl()), ("late", Duration::from_secs(60)));
    assert_eq!((late.max_uses(), late.is_bound()), (Some(3), true));
    scopes.freeze();
    let error = handle.register(minute("later").with_route("GET", "/later")).unwrap_err();
    assert_eq!(error, InvalidScope::Frozen { scope: "later".to_owned() });
    assert_eq!(scopes.names(), ["late"]);
    assert!(other.lookup("late").is_none(), "registries are apart");
}

/// T-3: of many that register one name at once, one does.
#[test]
fn one_of_many_registers_a_name() {
    let (scopes, wins, barrier) = (Scopes::new(), AtomicUsize::new(0), Barrier::new(16));
    thread::scope(|threads| {
        for number in 1..=16 {
            let (scopes, wins, barrier) = (scopes.clone(), &wins, &barrier);
            threads.spawn(move || {
                let scope = minute("one").with_route("GET", "/one").with_max_uses(number);
                barrier.wait();
                if scopes.register(scope).is_ok() {
                    assert_eq!(scopes.lookup("one").unwrap().max_uses(), Some(number));
                    wins.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(wins.into_inner(), 1);
}

/// T-1, T-10: the two scopes that hosts have, with their routes and their quarter of an hour.
#[test]
fn the_well_known_scopes_are_ready_made() {
    let (auth, headers) = (Scope::mcp_auth(BASE), Scope::mcp_headers_auth(&format!("{BASE}/")));
    assert_eq!((auth.name(), headers.name()), ("mcp_auth", "mcp_headers_auth"));
    assert_eq!((MCP_AUTH, MCP_HEADERS_AUTH), (auth.name(), headers.name()));
    let start = format!("{FLOW}/start");
    let allowed = |scope: &Scope| {
        let tries =
            ["GET", "PUT", "POST"].into_iter().flat_map(|m| [(m, FLOW), (m, start.as_str())]);
        tries.map(|(method, path)| scope.allows(method, path, "flow-1")).collect::<Vec<_>>()
    };
    assert_eq!(allowed(&auth), [true, true, false, false, false, false]);
    assert_eq!(allowed(&headers), [true, false, true, false, false, false]);
    for scope in [auth, headers] {
        assert_eq!(scope.max_ttl(), Duration::from_secs(15 * 60));
        assert_eq!((scope.max_uses(), scope.is_bound()), (None, false));
        Scopes::new().register(scope).unwrap();
    }
    // At the root of a host too.
    assert!(Scope::mcp_auth("").allows("GET", "/flows/a/start", "a"));
    assert!(Scopes::new().register(Scope::mcp_auth("no/slash")).is_err());
}
