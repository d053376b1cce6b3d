//! States, ids, names and fields as a stranger or a careless host would make them.

use redis::AsyncCommands;
use vestibule::{
    connection::{Callback, ConnectionError, Connector, SignIn, SignInError},
    pkce::{OauthState, PkceError, PkceState, PkceVerifier},
    seal::{CodecError, SealError},
    store::{ConnectionId, Shard},
};

use super::{CANARY, OWNER, Scene, answer, message, record};

/// What a callback may bring and no provider sends back.
fn hostile() -> Vec<Vec<u8>> {
    let text = |text: &str| format!("{text}{CANARY}").into_bytes();
    vec![
        text("with space "),
        text("nul\0"),
        text("\r\nSET x y\r\n"),
        text("é"),
        text("\u{202e}"),
        text("\u{1b}[31m"),
        [b"\xff\xfe\x80", CANARY.as_bytes()].concat(),
        [CANARY.as_bytes(), &[b'x'; 500]].concat(),
        [CANARY.as_bytes(), &[b'x'; 1 << 20]].concat(),
    ]
}

/// K-5: a state that cannot be one is refused before Redis is asked, and not repeated.
#[tokio::test]
async fn a_hostile_state_is_refused_unasked() {
    let mut scene = Scene::new().await;
    let connections = scene.connections();
    assert!(matches!(OauthState::parse(""), Err(error) if message(&error).contains("1 to 512")));
    for state in hostile() {
        let error = OauthState::parse(&state).unwrap_err();
        assert!(message(&error).contains("a state has 1 to 512 bytes of printable ASCII"));
        let Ok(state) = std::str::from_utf8(&state) else { continue };
        let callback = Callback { state, code: Some(CANARY), ..Callback::default() };
        let error = connections.finish(callback).await.unwrap_err();
        assert!(matches!(error, SignInError::InvalidState(_)), "{error}");
        message(&error);
    }
    assert_eq!(scene.keys_of("pkce").await, [] as [String; 0]);
    scene.nothing_leaked();
}

/// A host may make its own states, of whatever bytes: none reaches a key or another record.
#[tokio::test]
async fn a_state_of_any_text_names_a_record_of_its_own() {
    let mut scene = Scene::new().await;
    let states = scene.states();
    let texts = hostile().into_iter().filter_map(|bytes| String::from_utf8(bytes).ok());
    let forged = ["", "{", "}", "{00}", ":", "*", "vst:{00}:pkce:x", "../..", "%00"];
    let texts: Vec<_> = texts.chain(forged.map(str::to_owned)).collect();
    for (number, text) in texts.iter().enumerate() {
        let record = PkceState::new(format!("c{number}"), PkceVerifier::new(CANARY));
        states.put(&OauthState::new(text.as_str()), &record).await.unwrap();
    }
    let keys = scene.keys_of("pkce").await;
    assert_eq!(keys.len(), texts.len());
    for key in keys {
        let rest = key.strip_prefix(&format!("{}:{{", scene.prefix)).unwrap();
        let (shard, digest) = rest.split_once("}:pkce:").unwrap();
        assert!(Shard::from_hex(shard).is_some() && digest.starts_with(shard), "{key}");
        assert!(digest.len() == 32 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
    }
    for (number, text) in texts.iter().enumerate() {
        let found = states.take(&OauthState::new(text.as_str())).await.unwrap();
        assert_eq!(found.connection, format!("c{number}"));
    }
    scene.nothing_leaked();
}

/// A field at its limit is stored, one over it is refused by name; nothing is cut in silence.
#[tokio::test]
async fn a_field_over_its_limit_is_refused_by_name() {
    let mut scene = Scene::new().await;
    let states = scene.states();
    let of = |length: usize| format!("{CANARY}{}", "x".repeat(length - CANARY.len()));
    type Field = fn(&mut PkceState, String);
    let fields: [(&str, Field); 8] = [
        ("kind", |record, text| *record = record.clone().with_kind(text)),
        ("connection", |record, text| record.connection = text),
        ("started_by", |record, text| record.started_by = text),
        ("return_url", |record, text| record.return_url = text),
        ("redirect_uri", |record, text| record.redirect_uri = text),
        ("session", |record, text| record.session = text),
        ("resource", |record, text| record.resource = text),
        ("reauthorises", |record, text| record.reauthorises = text),
    ];
    let mut full = PkceState::new("", PkceVerifier::random());
    for (field, set) in fields {
        let mut over = record();
        set(&mut over, of(2049));
        let error = states.put(&OauthState::random(), &over).await.unwrap_err();
        assert!(matches!(error, PkceError::Invalid(_)), "{error}");
        assert!(message(&error).contains(&format!("{field} has 2049 bytes")), "{error}");
        set(&mut full, of(2048));
    }
    // The verifier has no limit of its own: the record as a whole has.
    let over = PkceState::new("", PkceVerifier::new(of(70_000)));
    let error = states.put(&OauthState::random(), &over).await.unwrap_err();
    let too_large = matches!(error, PkceError::Seal(SealError::Codec(CodecError::TooLarge { .. })));
    assert!(too_large, "{error}");
    message(&error);
    assert_eq!(scene.keys_of("pkce").await, [] as [String; 0]);

    let state = OauthState::random();
    states.put(&state, &full).await.unwrap();
    let found = states.take(&state).await.unwrap();
    assert_eq!(found.redirect_uri, full.redirect_uri);
}

/// What people are shown stays on its line, whatever is in it.
#[tokio::test]
async fn a_display_line_cannot_be_forged() {
    let mut scene = Scene::new().await;
    let states = scene.states();
    let name = "a b\nv1 taken \0{00}\u{1b}[31m=é";
    let state = OauthState::random();
    let record = PkceState::new(name, PkceVerifier::random()).with_kind(name);
    states.put(&state, &record).await.unwrap();
    let key = scene.keys_of("pkce").await.remove(0);
    let value: Vec<u8> = scene.raw.get(&key).await.unwrap();
    let line = value[60..].split(|byte| *byte == b'\n').next().unwrap();
    assert!(line.starts_with(b"kind=a%20b%0Av1%20taken%20%00%7B00%7D%1B%5B31m%3D%C3%A9 "));
    assert!(line.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '));
    assert_eq!(states.take(&state).await.unwrap().connection, name);
}

/// Owners, ids, slugs and tokens that cannot be: refused, each with its own word.
#[tokio::test]
async fn a_hostile_name_is_refused() {
    let scene = Scene::new().await;
    let connections = scene.connections();
    let (id, _) = scene.credential(&connections).await;
    for owner in ["", &CANARY.repeat(40)] {
        let stored = connections.store(owner, "demo", None, &answer()).await.unwrap_err();
        assert!(matches!(stored, ConnectionError::InvalidOwner { .. }), "{stored}");
        let vended = connections.vend(owner, &id).await.unwrap_err();
        assert!(message(&vended).contains("an owner has 1 to 512 bytes"), "{vended}");
        let sign_in = SignIn::new(owner, "demo", CANARY, "https://app.example/callback");
        message(&connections.start(sign_in).await.unwrap_err());
    }
    for owner in ["bob", "alice\0", "{00}", "alice*"] {
        let vended = connections.vend(owner, &id).await.unwrap_err();
        assert!(matches!(vended, ConnectionError::NotFound), "{vended}");
    }
    for slug in ["", "DEMO", "demo\n", "{00}", &"x".repeat(10_000)] {
        let stored = connections.store(OWNER, slug, None, &answer()).await.unwrap_err();
        let ConnectionError::UnknownConnector { slug: said } = &stored else { panic!("{stored}") };
        assert!(said.len() <= 32 && !said.contains('\n'), "{said:?}");
        let url = || "https://provider.example/".parse().unwrap();
        assert!(Connector::new(slug, url(), url(), "client").is_err(), "{slug}");
    }
    for text in hostile().iter().filter_map(|bytes| std::str::from_utf8(bytes).ok()) {
        message(&text.parse::<ConnectionId>().unwrap_err());
    }
    let mut huge = answer();
    huge.scope = Some(CANARY.repeat(5000));
    let error = connections.store(OWNER, "demo", None, &huge).await.unwrap_err();
    let too_large =
        matches!(error, ConnectionError::Seal(SealError::Codec(CodecError::TooLarge { .. })));
    assert!(too_large, "{error}");
    message(&error);
    scene.nothing_leaked();
}
