//! Connections on Redis against a real provider over HTTP: the sign-in, the vend, the refresh.

use std::{sync::Arc, time::Duration};

use redis::AsyncCommands;
use vestibule::{
    connection::{
        Callback, ConnectionError, Connections, ConnectionsConfig, HttpExchange, Refreshed,
        Registry, ReplayPolicy, SignIn, SignInError, VendPath,
    },
    pkce::{NotFound, PkceError},
    store::ConnectionId,
    sweep::RefreshDue,
};
use vestibule_worker::provider::{Answer, Failure, Provider, Settings};

use crate::{
    properties::{connect, connections::connections},
    support::{
        ageing::age,
        server,
        sign_in::{connections_of, connector, consent, install_tls, param, sign_in},
        stores::fresh_prefix,
    },
};

const REDIRECT: &str = "http://127.0.0.1:9/callback";

/// A provider, a prefix of its own, and one replica.
struct Scene {
    provider: Provider,
    prefix: String,
    replica: Connections,
}

impl Scene {
    async fn new(settings: Settings) -> Self {
        let (server, prefix) = (server::shared().await, fresh_prefix());
        let provider = Provider::start(settings).await.unwrap();
        let replica = connections(&server.url(), &prefix, &provider.issuer()).await;
        Self { provider, prefix, replica }
    }

    async fn another_replica(&self) -> Connections {
        connections(&server::shared().await.url(), &self.prefix, &self.provider.issuer()).await
    }

    async fn with_replay(&self, replay: ReplayPolicy) -> Connections {
        let url = server::shared().await.url();
        let vestibule = connect(&url, &self.prefix).await;
        connections_of(&vestibule, connector(&self.provider.issuer(), replay))
    }

    async fn age(&self, seconds: u64) {
        let mut raw = server::shared().await.raw().await;
        age(&mut raw, &self.prefix, Duration::from_secs(seconds)).await;
    }

    /// Until the provider is at work.
    async fn asked(&self) {
        while self.provider.in_flight() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn field(&self, id: &ConnectionId, field: &str) -> Option<String> {
        let key = format!("{}:{{{}}}:conn:{id}", self.prefix, id.shard());
        server::shared().await.raw().await.hget(key, field).await.unwrap()
    }

    async fn pass(&self, replica: &Connections) -> vestibule::sweep::RefreshDuePass {
        RefreshDue::default().pass(replica, &tokio_util::sync::CancellationToken::new()).await
    }
}

fn callback<'a>(params: &'a [(String, String)], session: &'a str) -> Callback<'a> {
    Callback {
        state: param(params, "state").unwrap_or_default(),
        code: param(params, "code"),
        error: param(params, "error"),
        iss: param(params, "iss"),
        session,
        ..Callback::default()
    }
}

/// V-4, V-5, K-3: started on one replica, finished on another while a third replays it.
#[tokio::test]
async fn a_sign_in_crosses_replicas_and_its_replay_is_refused() {
    let scene = Scene::new(Settings::default()).await;
    let (b, c) = (scene.another_replica().await, scene.another_replica().await);
    let mut sign_in = SignIn::new("alice", "demo", "session-1", REDIRECT);
    sign_in.return_url = Some("/done");
    let started = scene.replica.start(sign_in).await.unwrap();
    let params = consent(started.authorize_url.as_str()).await;

    let (one, two) = tokio::join!(
        b.finish(callback(&params, "session-1")),
        c.finish(callback(&params, "session-1"))
    );
    let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
    let finished = won.unwrap();
    assert_eq!(finished.return_url.as_deref(), Some("/done"));
    let refused = lost.unwrap_err();
    let unknown = SignInError::State(PkceError::StateNotFound(NotFound::Absent)).to_string();
    assert_eq!(refused.to_string(), unknown, "outside, a replay looks like any unknown state");
    assert!(matches!(
        refused,
        SignInError::State(PkceError::StateNotFound(NotFound::Replayed { .. }))
    ));
    assert_eq!(scene.provider.counts().code_exchanges, 1);

    let vended = scene.replica.vend("alice", &finished.connection).await.unwrap();
    assert_eq!(vended.path, VendPath::Warm);
    assert!(scene.provider.is_access_token_live(vended.access_token.secret()));
    let foreign = scene.replica.vend("mallory", &finished.connection).await.unwrap_err();
    assert!(matches!(foreign, ConnectionError::NotFound));
    assert_eq!(scene.provider.counts().token_calls, 1, "warm: no provider call");
}

/// K-5: whatever the callback says, the state is used up by it.
#[tokio::test]
async fn a_callback_consumes_the_state_whatever_it_says() {
    let scene = Scene::new(Settings::default()).await;
    let start = || scene.replica.start(SignIn::new("alice", "demo", "mine", REDIRECT));
    type Spoil = fn(&mut Vec<(String, String)>);
    let bad: [(&str, Spoil, &str); 4] = [
        ("mine", |params| params.push(("error".into(), "access_denied".into())), "refused"),
        ("mine", |params| params.retain(|(name, _)| name != "code"), "neither"),
        ("other", |_| {}, "another session"),
        ("mine", |params| params.retain(|(name, _)| name != "iss"), "another issuer"),
    ];
    for (session, spoil, says) in bad {
        let started = start().await.unwrap();
        let good = consent(started.authorize_url.as_str()).await;
        let mut spoiled = good.clone();
        spoil(&mut spoiled);
        let error = scene.replica.finish(callback(&spoiled, session)).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        let error = scene.replica.finish(callback(&good, "mine")).await.unwrap_err();
        assert!(matches!(error, SignInError::State(PkceError::StateNotFound(_))), "{error}");
    }
    assert_eq!(scene.provider.counts().code_exchanges, 0);
}

/// V-9: what cannot be started is refused before anything is stored.
#[tokio::test]
async fn a_bad_sign_in_does_not_start() {
    let scene = Scene::new(Settings::default()).await;
    let long = "x".repeat(513);
    for (owner, slug, redirect, back) in [
        ("alice", "unknown", REDIRECT, "/"),
        ("", "demo", REDIRECT, "/"),
        (&*long, "demo", REDIRECT, "/"),
        ("alice", "demo", "not a url", "/"),
        ("alice", "demo", "javascript:alert(1)", "/"),
        ("alice", "demo", REDIRECT, "//evil.example"),
    ] {
        let mut sign_in = SignIn::new(owner, slug, "s", redirect);
        sign_in.return_url = Some(back);
        assert!(scene.replica.start(sign_in).await.is_err(), "{slug} {redirect} {back}");
    }
    let keys: Vec<String> =
        server::shared().await.raw().await.keys(format!("{}:*pkce*", scene.prefix)).await.unwrap();
    assert!(keys.is_empty(), "{keys:?}");
}

/// C-3, C-12, H-14: many callers on several replicas, one provider call, one token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_credential_is_refreshed_once_for_all() {
    let scene = Scene::new(Settings::default()).await;
    let id = sign_in(&scene.replica, "alice").await;
    scene.age(400).await;
    scene.provider.set_answer_delay(Duration::from_secs(2));
    let replicas =
        [scene.replica.clone(), scene.another_replica().await, scene.another_replica().await];
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..60 {
        let (replica, id) = (replicas[number % 3].clone(), id.clone());
        callers.spawn(async move { replica.vend("alice", &id).await.unwrap() });
    }
    let vended = callers.join_all().await;
    let tokens: std::collections::BTreeSet<_> =
        vended.iter().map(|vended| vended.access_token.secret().to_owned()).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(scene.provider.counts().refreshes, 1);
    assert_eq!(vended.iter().filter(|vended| vended.path == VendPath::Refreshed).count(), 1);
    assert!(vended.iter().all(|v| matches!(v.path, VendPath::Refreshed | VendPath::Waited)));
}

/// V-5: inside the refresh lead the token is served at once, and refreshed behind it.
#[tokio::test]
async fn inside_the_lead_the_token_is_served_while_its_refresh_runs() {
    let scene = Scene::new(Settings::default()).await;
    let id = sign_in(&scene.replica, "alice").await;
    let before = scene.replica.vend("alice", &id).await.unwrap();
    scene.age(245).await;
    let served = scene.replica.vend("alice", &id).await.unwrap();
    assert_eq!(served.path, VendPath::StaleServed);
    assert_eq!(served.access_token.secret(), before.access_token.secret());
    scene.replica.drained().await;
    let after = scene.replica.vend("alice", &id).await.unwrap();
    assert_eq!(after.path, VendPath::Warm);
    assert_ne!(after.access_token.secret(), before.access_token.secret());
    assert_eq!(scene.provider.counts().refreshes, 1);
}

/// V-7, H-12: a pass refreshes what is due, once, and nothing else.
#[tokio::test]
async fn a_pass_refreshes_what_is_due() {
    let scene = Scene::new(Settings::default()).await;
    let mut ids = Vec::new();
    for owner in 0..5 {
        ids.push(sign_in(&scene.replica, &format!("owner-{owner}")).await);
    }
    assert_eq!(scene.pass(&scene.replica).await.claimed, 0, "nothing is due yet");
    scene.age(280).await;
    let late = sign_in(&scene.replica, "late").await;
    let other = scene.another_replica().await;
    let (one, two) = tokio::join!(scene.pass(&scene.replica), scene.pass(&other));
    assert_eq!(one.refreshed + two.refreshed, 5, "{one:?} {two:?}");
    assert_eq!(scene.pass(&other).await.claimed, 0);
    for id in &ids {
        assert_eq!(scene.field(id, "ver").await.as_deref(), Some("2"));
    }
    assert_eq!(scene.field(&late, "ver").await.as_deref(), Some("1"));
    assert_eq!(scene.provider.counts().reused_presentations, 0);
}

/// H-12, C-5, section 5.2 of RFC 6749: what an answer means for the credential.
#[tokio::test]
async fn provider_answers_are_told_apart() {
    let scene = Scene::new(Settings::default()).await;
    let cases = [
        (Answer::Status(500), "transient"),
        (Answer::Status(503), "transient"),
        (Answer::TooManyRequests(Duration::from_secs(90)), "transient"),
        (Answer::Html, "undecided"),
        (Answer::Empty, "undecided"),
        (Answer::Redirect, "transient"),
        (Answer::HangUp, "undecided"),
        (Answer::InvalidClient, "client"),
        (Answer::Error(400, "invalid_scope".into()), "config"),
        (Answer::Error(400, "never_heard_of".into()), "transient"),
        (Answer::InvalidGrant, "rejected"),
    ];
    for (answer, class) in cases {
        let name = format!("{answer:?}");
        let id = sign_in(&scene.replica, &name).await;
        scene.age(280).await;
        scene.provider.set_failure(Some(Failure::next(1, answer)));
        let outcome = scene.replica.refresh(&id).await.unwrap();
        let Refreshed::Failed(error) = outcome else { panic!("{name}: {outcome:?}") };
        assert_eq!(error.class.as_str(), class, "{name}");
        assert!(!error.reason.contains("://"), "{name}: {}", error.reason);
        let status = scene.field(&id, "status").await.unwrap();
        assert_eq!(status == "needs_reauth", class == "rejected", "{name}: {status}");
        assert_eq!(scene.field(&id, "lease").await, None, "{name}");
        let undecided = scene.field(&id, "att_token").await.is_some();
        assert_eq!(undecided, class == "undecided", "{name}");
        // A failed refresh keeps serving what is still valid: not so here, after 280 of 300 s.
        if class != "rejected" {
            scene.age(24 * 3600).await;
            assert!(
                matches!(scene.replica.refresh(&id).await, Ok(Refreshed::Fresh { .. })),
                "{name}"
            );
        } else {
            let error = scene.replica.vend(&name, &id).await.unwrap_err();
            assert!(
                matches!(&error, ConnectionError::NeedsReauth { reason } if reason == "invalid_grant")
            );
        }
    }
    assert_eq!(scene.provider.counts().followed_redirects, 0);
    assert_eq!(scene.provider.counts().family_revocations, 0);
}

/// H-12: a failure backs off, on record, and a caller whose token ran out is told so.
#[tokio::test]
async fn a_failure_backs_off() {
    let scene = Scene::new(Settings::default()).await;
    let id = sign_in(&scene.replica, "alice").await;
    scene.age(400).await;
    scene.provider.set_failure(Some(Failure::always(Answer::Status(500))));
    assert!(matches!(scene.replica.vend("alice", &id).await, Err(ConnectionError::Exchange(_))));
    let calls = scene.provider.counts().token_calls;
    let again = scene.replica.vend("alice", &id).await.unwrap_err();
    assert!(matches!(again, ConnectionError::BackingOff { .. }), "{again}");
    assert_eq!(scene.provider.counts().token_calls, calls, "a backoff is not hammered");
    assert_eq!(scene.field(&id, "attempts").await.as_deref(), Some("1"));

    scene.provider.set_failure(None);
    scene.age(3600).await;
    assert_eq!(scene.pass(&scene.replica).await.refreshed, 1);
    assert_eq!(scene.field(&id, "attempts").await.as_deref(), Some("0"));
    assert_eq!(scene.field(&id, "last_error").await, None);
}

/// an answer that was lost is asked for again inside the grace, with the same refresh token.
#[tokio::test]
async fn a_lost_answer_is_replayed_inside_the_grace() {
    let scene = Scene::new(Settings::default()).await;
    let id = sign_in(&scene.replica, "alice").await;
    scene.age(280).await;
    scene.provider.set_failure(Some(Failure::next(1, Answer::HangUp).after_rotation()));
    assert!(matches!(scene.replica.refresh(&id).await, Ok(Refreshed::Failed(_))));
    scene.age(2).await;
    assert!(matches!(scene.replica.refresh(&id).await, Ok(Refreshed::Fresh { .. })));
    let vended = scene.replica.vend("alice", &id).await.unwrap();
    assert!(scene.provider.is_access_token_live(vended.access_token.secret()));
    let counts = scene.provider.counts();
    assert_eq!((counts.reused_presentations, counts.family_revocations), (1, 0));
}

/// under a strict provider the same loss is told as what it is, never silently.
#[tokio::test]
async fn a_lost_answer_of_a_strict_provider_is_labelled() {
    let settings = Settings { reuse_grace: Duration::ZERO, ..Settings::default() };
    let scene = Scene::new(settings).await;
    let strict = scene.with_replay(ReplayPolicy::Strict).await;
    let id = sign_in(&strict, "alice").await;
    scene.age(280).await;
    scene.provider.set_failure(Some(Failure::next(1, Answer::HangUp).after_rotation()));
    assert!(matches!(strict.refresh(&id).await, Ok(Refreshed::Failed(_))));
    assert!(matches!(strict.refresh(&id).await, Ok(Refreshed::NotDue { .. })), "not at once");
    // The lease, and the journal's window.
    scene.age(91).await;
    assert!(matches!(strict.refresh(&id).await, Ok(Refreshed::Failed(_))));
    let error = strict.vend("alice", &id).await.unwrap_err();
    assert!(matches!(&error, ConnectionError::NeedsReauth { reason } if reason == "rotation_lost"));

    // Signing in again brings the same connection back.
    let mut again = SignIn::new("alice", "demo", "s", REDIRECT);
    again.reauthorises = Some(&id);
    let started = strict.start(again).await.unwrap();
    let params = consent(started.authorize_url.as_str()).await;
    let finished = strict.finish(callback(&params, "s")).await.unwrap();
    assert_eq!(finished.connection, id);
    assert!(strict.vend("alice", &id).await.is_ok());
    assert_eq!(scene.field(&id, "grant").await.as_deref(), Some("2"));
}

/// an exchange that was in flight while its connection was authorised anew is refused.
#[tokio::test]
async fn an_old_grants_answer_is_dropped() {
    let scene = Scene::new(Settings::default()).await;
    let id = sign_in(&scene.replica, "alice").await;
    scene.age(280).await;
    scene.provider.set_answer_delay(Duration::from_secs(8));
    let slow = {
        let (replica, id) = (scene.replica.clone(), id.clone());
        tokio::spawn(async move { replica.refresh(&id).await })
    };
    scene.asked().await;
    scene.provider.set_answer_delay(Duration::ZERO);
    let mut again = SignIn::new("alice", "demo", "s", REDIRECT);
    again.reauthorises = Some(&id);
    let started = scene.replica.start(again).await.unwrap();
    let params = consent(started.authorize_url.as_str()).await;
    scene.replica.finish(callback(&params, "s")).await.unwrap();
    let granted = scene.replica.vend("alice", &id).await.unwrap();

    assert!(matches!(slow.await.unwrap(), Ok(Refreshed::Not("refused"))));
    let after = scene.replica.vend("alice", &id).await.unwrap();
    assert_eq!(after.access_token.secret(), granted.access_token.secret());
}

/// A dropped caller does not tear an exchange: it ends in a task of its own.
#[tokio::test]
async fn an_exchange_outlives_its_caller() {
    let scene = Scene::new(Settings::default()).await;
    let id = sign_in(&scene.replica, "alice").await;
    scene.age(400).await;
    scene.provider.set_answer_delay(Duration::from_secs(2));
    tokio::select! {
        vended = scene.replica.vend("alice", &id) => panic!("nobody has answered: {vended:?}"),
        () = scene.asked() => {}
    }
    scene.replica.drained().await;
    assert_eq!(scene.field(&id, "ver").await.as_deref(), Some("2"));
    assert_eq!(scene.provider.counts().refreshes, 1);
}

/// A lease is renewed for as long as the provider takes: nobody takes a living exchange over.
#[tokio::test]
async fn a_slow_exchange_keeps_its_lease() {
    let scene = Scene::new(Settings::default()).await;
    let id = sign_in(&scene.replica, "alice").await;
    scene.age(280).await;
    scene.provider.set_answer_delay(Duration::from_secs(8));
    let slow = {
        let (replica, id) = (scene.replica.clone(), id.clone());
        tokio::spawn(async move { replica.refresh(&id).await })
    };
    scene.asked().await;
    scene.age(9).await;
    let left = |ends: String| ends.parse::<u64>().unwrap();
    let before = left(scene.field(&id, "lease_ends_at").await.unwrap());
    while scene.field(&id, "lease_ends_at").await.map(left).is_some_and(|now| now <= before) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(scene.field(&id, "lease").await.is_some(), "renewed, not ended");
    assert!(matches!(slow.await.unwrap(), Ok(Refreshed::Fresh { .. })));
    assert_eq!(scene.provider.counts().reused_presentations, 0);
}

/// A stopped pass begins nothing, and what it had claimed is due again at once.
#[tokio::test]
async fn a_stopped_pass_gives_back() {
    let scene = Scene::new(Settings::default()).await;
    let mut ids = Vec::new();
    for owner in 0..6 {
        ids.push(sign_in(&scene.replica, &format!("owner-{owner}")).await);
    }
    scene.age(280).await;
    scene.provider.set_answer_delay(Duration::from_secs(2));
    let stop = tokio_util::sync::CancellationToken::new();
    let sweep = RefreshDue { parallel: 2, ..RefreshDue::default() };
    let passing = sweep.pass(&scene.replica, &stop);
    let stopping = async {
        scene.asked().await;
        stop.cancel();
    };
    let (pass, ()) = tokio::join!(passing, stopping);
    assert!(pass.refreshed >= 1 && pass.refreshed <= 2, "{pass:?}");
    assert_eq!(scene.provider.in_flight(), 0, "what was begun has ended");
    scene.provider.set_answer_delay(Duration::ZERO);
    let rest = scene.pass(&scene.another_replica().await).await;
    assert_eq!(pass.refreshed + rest.refreshed, 6, "{pass:?} {rest:?}");
}

/// A connector that left the registry: its credentials are kept, and tried rarely.
#[tokio::test]
async fn a_removed_connector_keeps_its_credentials() {
    let scene = Scene::new(Settings::default()).await;
    let id = sign_in(&scene.replica, "alice").await;
    scene.age(280).await;
    install_tls();
    let url = server::shared().await.url();
    let vestibule = connect(&url, &scene.prefix).await;
    let exchange = Arc::new(HttpExchange::new().unwrap());
    let bare = vestibule.connections(ConnectionsConfig::new(Registry::default(), exchange));
    assert_eq!(scene.pass(&bare).await.skipped, 1);
    assert_eq!(scene.field(&id, "attempts").await.as_deref(), Some("0"), "not its fault");
    assert_eq!(scene.field(&id, "status").await.as_deref(), Some("active"));
    assert!(matches!(bare.vend("alice", &id).await, Err(ConnectionError::UnknownConnector { .. })));
    scene.age(33).await;
    assert_eq!(scene.pass(&scene.replica).await.refreshed, 1);
}

/// A writer to Redis who makes a connection somebody else's, or another provider's, cannot open it.
#[tokio::test]
async fn a_credential_cannot_be_given_to_another_owner_or_connector() {
    let scene = Scene::new(Settings::default()).await;
    let id = sign_in(&scene.replica, "alice").await;
    let others = sign_in(&scene.replica, "mallory").await;
    let mallory = scene.field(&others, "owner").await.unwrap();
    let key = format!("{}:{{{}}}:conn:{id}", scene.prefix, id.shard());
    let mut raw = server::shared().await.raw().await;
    let alice: String = raw.hget(&key, "owner").await.unwrap();
    let _: () = raw.hset(&key, "owner", mallory).await.unwrap();
    let stolen = scene.replica.vend("mallory", &id).await.unwrap_err();
    assert!(matches!(stolen, ConnectionError::Seal(_)), "{stolen}");
    let _: () = raw.hset(&key, "owner", alice).await.unwrap();
    assert!(scene.replica.vend("alice", &id).await.is_ok());
}

/// A token whose life is shorter than the serve margin is served while it lives, and a provider's
/// trouble does not withhold what still lives.
#[tokio::test]
async fn what_lives_is_served() {
    let life = Duration::from_secs(60);
    let settings = Settings {
        access_lifetime_first: life,
        access_lifetime_refreshed: life,
        ..Settings::default()
    };
    let scene = Scene::new(settings).await;
    let id = sign_in(&scene.replica, "alice").await;
    scene.age(35).await;
    let served = scene.replica.vend("alice", &id).await.unwrap();
    assert_eq!(served.path, VendPath::Warm, "not due yet, and alive");
    scene.age(20).await;
    scene.provider.set_failure(Some(Failure::always(Answer::Status(500))));
    for _ in 0..2 {
        let served = scene.replica.vend("alice", &id).await.unwrap();
        assert!(served.expires_in.unwrap() < Duration::from_secs(6));
    }
    scene.age(6).await;
    assert!(scene.replica.vend("alice", &id).await.is_err());
}

/// K-5: a sign-in without a session is not started: anybody could finish it.
#[tokio::test]
async fn a_sign_in_needs_a_session() {
    let scene = Scene::new(Settings::default()).await;
    let refused = scene.replica.start(SignIn::new("alice", "demo", "", REDIRECT)).await;
    assert!(matches!(refused, Err(SignInError::NoSession)));
}
