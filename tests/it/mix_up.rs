//! A callback that came in elsewhere than its sign-in was to come back, and what is kept to tell.

use vestibule::{
    Vestibule,
    connection::{Callback, ReplayPolicy, SignIn, SignInError},
};
use vestibule_worker::provider::{Provider, Settings};

use crate::{
    properties::connections::connections,
    support::{
        server,
        sign_in::{connections_of, connector, consent, param},
        stores::fresh_prefix,
    },
};

const OURS: &str = "http://127.0.0.1:9/callback/demo";

/// K-5: it consumes the state, and the code goes to nobody; at its own address it is finished, and
/// so it is where the host does not say.
#[tokio::test]
async fn a_callback_that_came_in_elsewhere_is_refused() {
    let provider = Provider::start(Settings::default()).await.unwrap();
    let url = server::shared().await.url();
    let all = connections(&url, &fresh_prefix(), &provider.issuer()).await;
    for (at, welcome) in [
        (Some("http://127.0.0.1:9/callback/other"), false),
        (Some("http://127.0.0.1:9/callback/demo/"), false),
        (Some(""), false),
        (Some(OURS), true),
        (None, true),
    ] {
        let started = all.start(SignIn::new("alice", "demo", "s", OURS)).await.unwrap();
        let params = consent(started.authorize_url.as_str()).await;
        let callback = Callback {
            state: param(&params, "state").unwrap(),
            code: param(&params, "code"),
            iss: param(&params, "iss"),
            session: "s",
            redirect_uri: at,
            ..Callback::default()
        };
        let before = provider.counts().code_exchanges;
        let finished = all.finish(callback).await;
        let exchanged = provider.counts().code_exchanges - before;
        if welcome {
            finished.unwrap();
            assert_eq!(exchanged, 1);
            continue;
        }
        assert!(matches!(finished, Err(SignInError::OtherRedirect)), "{at:?}: {finished:?}");
        assert_eq!(exchanged, 0, "{at:?}");
        let right = Callback { redirect_uri: Some(OURS), ..callback };
        let again = all.finish(right).await;
        assert!(matches!(again, Err(SignInError::State(_))), "it is used up: {again:?}");
    }
}

/// K-4: of a session there is a digest in the sealed record, and another of another.
#[tokio::test]
async fn no_session_is_kept_as_it_is() {
    let vestibule = Vestibule::in_memory();
    let all = connections_of(&vestibule, connector("http://127.0.0.1:9", ReplayPolicy::Strict));
    let kept = async |session| {
        let started = all.start(SignIn::new("alice", "demo", session, OURS)).await.unwrap();
        vestibule.pkce().take(&started.state).await.unwrap().session
    };
    let (one, same, other) = (kept("cookie-1").await, kept("cookie-1").await, kept("c").await);
    assert_eq!(one, same);
    assert!(one != other && one.len() == 32 && !one.contains("cookie"), "{one} {other}");
}
