//! The trace of a flow, from the replica that starts it to the one that ends it.

mod recorder;

use std::{collections::BTreeMap, time::Duration};

use opentelemetry_sdk::trace::SpanData;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::{Instrument, Span, level_filters::LevelFilter};
use vestibule::{
    RequestId, Vestibule,
    connection::{Callback, Connections, ReplayPolicy, SignIn},
    headers::{Binding, Headers, HeadersConfig, Identity},
    pending::{Completion, Namespace, Pendings, PendingsConfig, Spec, Waited},
    pkce::{OauthState, PkceState, PkceVerifier},
    seal::{self, Seal},
    store::{ConnectionId, NewPending, PendingId, PendingRow, PendingStore, Replaced},
    token::{LinkBase, MCP_HEADERS_AUTH, MintSpec, Scope, Scopes},
};
use vestibule_worker::provider::{Provider, Settings};

use self::recorder::{Recorder, attribute, links, place, request};
use crate::{
    properties::pkce::shared_keys,
    support::{
        contents::contents,
        server,
        sign_in::{connections_of, connector, consent, param},
        stores::{fresh_prefix, store},
    },
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Of scopes.
const LIFE: Duration = Duration::from_secs(900);
const START: &str = "vestibule.sign_in.start";
const FINISH: &str = "vestibule.sign_in.finish";
/// Of the person and of the browser: in no span.
const OWNER: &str = "canary-owner";
const SESSION: &str = "canary-session";

/// Two replicas on one Redis, each with its own traces.
struct Two {
    a: Vestibule,
    b: Vestibule,
    at_a: Recorder,
    at_b: Recorder,
    prefix: String,
}

impl Two {
    async fn new() -> Self {
        let (server, prefix) = (server::shared().await, fresh_prefix());
        let keys = shared_keys();
        let mut both = Vec::new();
        for _ in 0..2 {
            let store = store(server, &prefix).await;
            both.push(Vestibule::assemble(store, Seal::new(keys.ring.clone()), &keys));
        }
        let (b, a) = (both.pop().unwrap(), both.pop().unwrap());
        let (at_a, at_b) = (Recorder::new(LevelFilter::INFO), Recorder::new(LevelFilter::INFO));
        Self { a, b, at_a, at_b, prefix }
    }

    /// A sign-in that starts on A and ends on B, each in a span of the host's, or in none. Returns
    /// what must be in no span.
    async fn sign_in(
        &self,
        started_in: &dyn Fn() -> Span,
        ended_in: &dyn Fn() -> Span,
    ) -> Vec<String> {
        let provider = Provider::start(Settings::default()).await.unwrap();
        let grace = ReplayPolicy::Grace(Duration::from_secs(30));
        let of = |vestibule| connections_of(vestibule, connector(&provider.issuer(), grace));
        let (a, b): (Connections, Connections) = (of(&self.a), of(&self.b));

        let here = self.at_a.enter();
        let sign_in = SignIn::new(OWNER, "demo", SESSION, "http://127.0.0.1:9/callback");
        let started = a.start(sign_in).instrument(started_in()).await.unwrap();
        drop(here);

        let params = consent(started.authorize_url.as_str()).await;
        let state = param(&params, "state").unwrap();
        let raw = self.dump().await;
        for span in self.at_a.spans() {
            let trace = span.span_context.trace_id().to_string();
            assert!(!raw.contains(&trace), "the trace id is sealed, if it is anywhere");
        }

        let here = self.at_b.enter();
        let callback = Callback {
            state,
            code: param(&params, "code"),
            iss: param(&params, "iss"),
            session: SESSION,
            ..Callback::default()
        };
        let finished = b.finish(callback).instrument(ended_in()).await.unwrap();
        let vended = b.vend(OWNER, &finished.connection).await.unwrap();
        drop(here);
        let code = param(&params, "code").unwrap().to_owned();
        let token = vended.access_token.secret().to_owned();
        vec![OWNER.to_owned(), SESSION.to_owned(), state.to_owned(), code, token]
    }

    /// All that is in Redis.
    async fn dump(&self) -> String {
        let mut raw = server::shared().await.raw().await;
        let pattern = format!("{}:*", self.prefix);
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(pattern).query_async(&mut raw).await.unwrap();
        let mut all = String::new();
        for key in keys {
            all += &format!("{key} {:?}\n", contents(&mut raw, &key).await);
        }
        all
    }

    fn pendings(&self) -> (Pendings<Form>, Pendings<Form>) {
        (self.a.pendings(PendingsConfig::default()), self.b.pendings(PendingsConfig::default()))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Form {
    text: String,
}

fn spec() -> Spec<Form> {
    Spec::new("form", Form { text: "canary-form".to_owned() })
}

fn nobody() -> Namespace {
    Namespace::new("canary-namespace").unwrap()
}

fn assert_child(span: &SpanData, of: &SpanData) {
    assert_eq!(span.span_context.trace_id(), of.span_context.trace_id(), "one trace");
    assert_eq!(span.parent_span_id, of.span_context.span_id());
    assert!(span.parent_span_is_remote && links(span).is_empty());
}

fn assert_linked(span: &SpanData, to: &SpanData, own: &SpanData) {
    assert_eq!(span.span_context.trace_id(), own.span_context.trace_id(), "its own trace");
    assert_eq!(links(span), [place(to)]);
    let trace = to.span_context.trace_id().to_string();
    assert_eq!(attribute(span, "vestibule.flow.trace_id"), Some(trace));
}

/// A callback that is in no trace goes on with that of the sign-in; no secret is in any span.
#[tokio::test]
async fn a_sign_in_is_one_trace_over_two_replicas() {
    let two = Two::new().await;
    let secrets = two.sign_in(&Span::none, &Span::none).await;
    let (start, finish) = (two.at_a.one(START), two.at_b.one(FINISH));
    assert_child(&finish, &start);
    assert_eq!(attribute(&start, "connector").as_deref(), Some("demo"));
    assert_eq!(attribute(&finish, "connector").as_deref(), Some("demo"));
    let told = format!("{:?} {:?}", two.at_a.spans(), two.at_b.spans());
    for secret in secrets {
        assert!(!told.contains(&secret), "{secret} in {told}");
    }
}

/// A callback that is in a trace stays in it, and leads to the sign-in: by a link, and by a name that
/// can be searched for. A request in a trace that nobody samples is as good as none.
#[tokio::test]
async fn a_callback_keeps_its_own_trace_and_is_linked() {
    let two = Two::new().await;
    two.sign_in(&|| request(true), &|| request(true)).await;
    let (start, finish) = (two.at_a.one(START), two.at_b.one(FINISH));
    assert_eq!(start.parent_span_id, two.at_a.one("request").span_context.span_id());
    assert_linked(&finish, &start, &two.at_b.one("request"));

    let two = Two::new().await;
    two.sign_in(&|| request(true), &|| request(false)).await;
    assert_child(&two.at_b.one(FINISH), &two.at_a.one(START));
}

/// A sign-in that is not sampled leaves nothing behind, and its end is a trace by itself.
#[tokio::test]
async fn a_start_that_is_not_sampled_is_not_kept() {
    let two = Two::new().await;
    two.sign_in(&|| request(false), &Span::none).await;
    assert!(two.at_a.spans().is_empty());
    let finish = two.at_b.one(FINISH);
    assert!(links(&finish).is_empty() && !finish.parent_span_is_remote);
}

/// Whoever makes and takes states by hand has the same.
#[tokio::test]
async fn a_state_of_the_hosts_own_carries_its_trace() {
    let two = Two::new().await;
    let state = OauthState::random();
    {
        let _here = two.at_a.enter();
        let put = async {
            let record = PkceState::new("demo", PkceVerifier::random());
            two.a.pkce().put(&state, &record).await.unwrap();
        };
        put.instrument(request(true)).await;
    }
    let _here = two.at_b.enter();
    two.b.pkce().take(&state).await.unwrap();
    assert_child(&two.at_b.one("vestibule.pkce.take"), &two.at_a.one("request"));
}

/// A pending that is completed elsewhere; and whoever waited is linked to the request that did it.
#[tokio::test]
async fn a_pending_is_joined_by_who_ends_it_and_who_waited() {
    let two = Two::new().await;
    let (a, b) = two.pendings();
    let here = two.at_a.enter();
    let id = a.create(&nobody(), &spec()).instrument(request(true)).await.unwrap().id;
    drop(here);
    let here = two.at_b.enter();
    let completed = b.complete(id, None, &"canary-answer").instrument(request(true)).await;
    assert!(matches!(completed.unwrap(), Completion::Won(_)));
    drop(here);
    let here = two.at_a.enter();
    let waited = a.wait::<String>(id, PATIENCE).await.unwrap();
    assert!(matches!(waited, Waited::Completed { answer, .. } if answer == "canary-answer"));
    drop(here);

    let create = two.at_a.one("vestibule.pending.create");
    let completion = two.at_b.one("request");
    assert_linked(&two.at_b.one("vestibule.pending.finish"), &create, &completion);
    let wait = two.at_a.one("vestibule.pending.wait");
    assert_eq!(links(&wait), [place(&completion)]);
    assert_eq!(attribute(&wait, "outcome").as_deref(), Some("completed"));
    let told = format!("{:?} {:?}", two.at_a.spans(), two.at_b.spans());
    assert!(!told.contains("canary"), "{told}");
}

/// A replacement does not change where a pending began.
#[tokio::test]
async fn a_replaced_pending_began_where_it_was_created() {
    let two = Two::new().await;
    let (a, b) = two.pendings();
    let here = two.at_a.enter();
    let id = a.create(&nobody(), &spec()).await.unwrap().id;
    drop(here);
    let _here = two.at_b.enter();
    let found = b.get(id).await.unwrap().unwrap();
    b.replace(&found, &spec()).instrument(request(true)).await.unwrap();
    b.cancel(id, None).await.unwrap();
    let finish = two.at_b.one("vestibule.pending.finish");
    assert_child(&finish, &two.at_a.one("vestibule.pending.create"));
}

/// Headers are asked for on one replica and submitted on another.
#[tokio::test]
async fn a_submission_is_joined_to_what_asked_for_it() {
    let two = Two::new().await;
    let of = |vestibule: &Vestibule| {
        let scopes = Scopes::new();
        scopes
            .register(Scope::new(MCP_HEADERS_AUTH).with_route("GET", "/x").with_max_ttl(LIFE))
            .unwrap();
        vestibule.header_credentials(HeadersConfig::new(vestibule.temp_tokens(scopes)))
    };
    let (a, b) = (of(&two.a), of(&two.b));
    let binding = Binding::new(Identity::user("canary-user").unwrap(), "client").unwrap();
    let base = LinkBase::parse("https://app.example").unwrap();
    let here = two.at_a.enter();
    let flow = a.initiate(&binding, &base).await.unwrap().flow;
    drop(here);
    let _here = two.at_b.enter();
    let claim = b.claim(flow).await.unwrap();
    let headers = Headers::new([("x-key", "canary-key")]).unwrap();
    b.submit(&claim, &headers).await.unwrap();
    b.drained().await;
    let create = two.at_a.one("vestibule.pending.create");
    assert_eq!(
        create.parent_span_id,
        two.at_a.one("vestibule.headers.initiate").span_context.span_id()
    );
    assert_child(&two.at_b.one("vestibule.headers.submit"), &create);
    let told = format!("{:?} {:?}", two.at_a.spans(), two.at_b.spans());
    assert!(!told.contains("canary"), "{told}");
}

/// Whatever is sealed in its place, a record is as good as without it: one of before, one of
/// another version, one that is damaged.
#[tokio::test]
async fn a_damaged_context_is_nobodys_trouble() {
    let two = Two::new().await;
    let (a, b) = two.pendings();
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (kept, is_joined) in [
        (Some(json!(good)), true),
        (None, false),
        (Some(json!(null)), false),
        (Some(json!(7)), false),
        (Some(json!([good])), false),
        (Some(json!({ "traceparent": good })), false),
        (Some(json!("")), false),
        (Some(json!(good.to_uppercase())), false),
        (Some(json!(format!("{good}-more"))), false),
        (Some(json!("x".repeat(60_000))), false),
    ] {
        let here = two.at_a.enter();
        let id = a.create(&nobody(), &spec()).await.unwrap().id;
        drop(here);
        rewrite(&two, id, kept.clone()).await;
        let at_b = Recorder::new(LevelFilter::INFO);
        let _here = at_b.enter();
        let completion = b.complete(id, None, &()).await.unwrap();
        let Completion::Won(won) = completion else { panic!("{completion:?}") };
        assert_eq!(won.data, spec().data);
        let finish = at_b.one("vestibule.pending.finish");
        assert!(links(&finish).is_empty());
        let is_its = finish.span_context.trace_id().to_string() == good[3..35];
        assert_eq!((is_its, finish.parent_span_is_remote), (is_joined, is_joined), "{kept:?}");
    }
}

/// Puts another context into a pending, as only somebody with the keys can.
async fn rewrite(two: &Two, id: PendingId, kept: Option<Value>) {
    let store = store(server::shared().await, &two.prefix).await;
    let text = id.to_string();
    let binding = seal::Binding { purpose: "pending", prefix: &two.prefix, name: text.as_bytes() };
    let seal = Seal::new(shared_keys().ring);
    let PendingRow::Live { body, left } = store.read_pending(id).await.unwrap() else { panic!() };
    let mut fields: BTreeMap<String, Value> = seal.open_short(binding, &body).unwrap();
    let was = fields.remove("trace").expect("it is there");
    assert_eq!(was.as_str().map(str::len), Some(55));
    fields.extend(kept.map(|kept| ("trace".to_owned(), kept)));
    let body = seal.seal_short(binding, left, &fields).unwrap();
    let new = NewPending {
        id,
        request: RequestId::random().digest(),
        ttl: left,
        ceiling: Duration::from_secs(3600),
        subject: None,
        dedup: None,
        extends: false,
        display: &[],
        body: &body,
    };
    assert_eq!(store.replace_pending(new).await.unwrap(), Replaced::Replaced);
}

/// What a host does in every request is for who looks closely; a refresh is in the trace of whoever
/// needed it.
#[tokio::test]
async fn daily_work_is_at_debug() {
    let two = Two::new().await;
    let provider = Provider::start(Settings::default()).await.unwrap();
    let grace = ReplayPolicy::Grace(Duration::from_secs(30));
    let connections = connections_of(&two.a, connector(&provider.issuer(), grace));
    let id: ConnectionId = crate::support::sign_in::sign_in(&connections, OWNER).await;
    let scopes = Scopes::new();
    scopes.register(Scope::new("one").with_route("GET", "/x").with_max_ttl(LIFE)).unwrap();
    let tokens = two.a.temp_tokens(scopes);
    let (info, debug) = (Recorder::new(LevelFilter::INFO), Recorder::new(LevelFilter::DEBUG));
    for recorder in [&info, &debug] {
        let _here = recorder.enter();
        let token = tokens.mint(&MintSpec::new("one", "r", PATIENCE)).await.unwrap().token;
        tokens.validate(token.secret(), "GET", "/x", None).await.unwrap();
        connections.vend(OWNER, &id).await.unwrap();
    }
    let names = |recorder: &Recorder| {
        recorder.spans().into_iter().map(|span| span.name.into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&info), ["vestibule.token.mint"]);
    let all = ["vestibule.token.mint", "vestibule.token.validate", "vestibule.vend"];
    assert_eq!(names(&debug), all);
    assert_eq!(attribute(&debug.one("vestibule.vend"), "path").as_deref(), Some("warm"));

    let mut raw = server::shared().await.raw().await;
    crate::support::ageing::age(&mut raw, &two.prefix, Duration::from_secs(3_590)).await;
    let recorder = Recorder::new(LevelFilter::INFO);
    let here = recorder.enter();
    connections.vend(OWNER, &id).instrument(request(true)).await.unwrap();
    connections.drained().await;
    drop(here);
    let (refresh, request) = (recorder.one("vestibule.refresh"), recorder.one("request"));
    assert_eq!(refresh.parent_span_id, request.span_context.span_id());
    assert_eq!(attribute(&refresh, "outcome").as_deref(), Some("fresh"));
}
