//! Canaries in all that a worker reads: records, files, variables, and what it is answered.

use std::{fs, sync::Arc, time::Duration};

use base64ct::{Base64, Encoding};
use tokio::process::Command;
use vestibule::{
    connection::{
        AccessToken, ClientSecret, ConnectionsConfig, Connector, HttpExchange, RefreshToken,
        Registry, SignIn, TokenAnswer,
    },
    headers::{Binding, Headers, HeadersConfig, Identity},
    inspect::Role,
    pending::{Namespace, Pendings, PendingsConfig, Spec},
    token::{LinkBase, MintSpec, Scope, Scopes},
};

use super::{
    echo::{Echo, MOODS},
    search::{Canary, Kind},
};
use crate::{
    scene::{CANARY, Ids, Scene},
    support::{
        ageing::age,
        server::{TestServer, users},
        sign_in::install_tls,
    },
};

const HOUR: Duration = Duration::from_secs(3600);
/// The secret of a connector that has it in the environment.
const CLIENT_SECRET: &str = "CANARY_CLIENT_SECRET";

pub(super) struct Planted {
    pub(super) server: TestServer,
    pub(super) scene: Scene,
    pub(super) ids: Ids,
    /// The connections whose provider echoes, what else `show` can be asked for, and a header credential
    /// at the end.
    pub(super) more_ids: Vec<String>,
    pub(super) echo: Echo,
    pub(super) canaries: Vec<Canary>,
    client_secret: String,
}

impl Planted {
    pub(super) async fn new() -> Self {
        install_tls();
        let (server, echo) = (TestServer::builder().start().await, Echo::start().await);
        let secret = |name: &str| Canary::fresh(Kind::Secret, name);
        let (password, client) = (secret("password"), secret("client-in-a-variable"));
        let mut raw = server.raw().await;
        for role in Role::ALL {
            let mut user = redis::cmd("ACL");
            user.arg("SETUSER").arg(users::name(role)).arg(format!(">{}", password.text()));
            user.query_async::<()>(&mut raw).await.unwrap();
        }
        let scene = Scene::on(&server.url_as(&server.user(), password.text())).await;
        let mut canaries = vec![password, client.clone()];
        canaries.extend(echo.issued.clone());
        // What the scene puts wherever a user has a say.
        canaries.push(Canary::new(Kind::Secret, "of the scene", CANARY));
        configure(&scene, &echo, &mut canaries);
        let more_ids = records(&scene, &server, &echo, &mut canaries).await;
        let ids = scene.populate(&server).await;
        let client_secret = client.text().to_owned();
        let mut planted = Self { server, scene, ids, more_ids, echo, canaries, client_secret };
        planted.remember_keys("keys.toml");
        planted
    }

    /// All that is quoted in a key file, as it is there and as it is used.
    pub(super) fn remember_keys(&mut self, file: &str) {
        let text = fs::read_to_string(self.scene.path(file)).unwrap();
        for (number, value) in text.split('"').skip(1).step_by(2).enumerate() {
            let bytes = Base64::decode_vec(value).unwrap();
            if !self.canaries.iter().any(|it| it.bytes == bytes) {
                let name = format!("{file}, value {number}");
                self.canaries.push(Canary::new(Kind::Secret, &name, bytes));
                self.canaries.push(Canary::new(Kind::Secret, &name, value));
            }
        }
    }

    /// With everything logged, and every variable set that it reads a secret from.
    pub(super) fn telling_all(&self, command: &mut Command, args: &[&str]) {
        command.env("RUST_LOG", "trace").env(CLIENT_SECRET, &self.client_secret);
        command.env("VESTIBULE_REDIS_URL", self.scene.redis_for(args));
    }
}

/// Everything of the file that is secret, or may have something secret in it.
fn configure(scene: &Scene, echo: &Echo, canaries: &mut Vec<Canary>) {
    let mut file = |name: &str, text: String, bytes: Option<Vec<u8>>| {
        fs::write(scene.path(name), format!("{text}\n")).unwrap();
        let parts = [Some(text.into_bytes()), bytes].into_iter().flatten();
        canaries.extend(parts.map(|bytes| Canary::new(Kind::Secret, name, bytes)));
        scene.path(name)
    };
    let fresh = |name: &str| Canary::fresh(Kind::Secret, name).text().to_owned();
    let hook_key = Canary::fresh(Kind::Secret, "hook").bytes;
    let hook_text = format!("whsec_{}", Base64::encode_string(&hook_key));
    let mine = file("client", fresh("client"), None);
    let admin = file("admin", fresh("admin"), None);
    let hook = file("hook", hook_text, Some(hook_key));
    // Not secret where it is, but often a password all the same.
    let path = Canary::fresh(Kind::Secret, "hook-path");
    let (url, scene_text) = (&echo.url, fs::read_to_string(scene.path("vestibule.toml")).unwrap());
    let text = format!(
        "admin.token_file = {admin:?}\n{scene_text}\n\
         [[connectors]]\nslug = \"mine\"\nauthorize_url = \"{url}/authorize\"\n\
         token_url = \"{url}/token\"\nclient_id = \"me\"\nclient_secret_file = {mine:?}\n\
         replay_grace_s = 30\n\n\
         [[connectors]]\nslug = \"other\"\nauthorize_url = \"{url}/authorize\"\n\
         token_url = \"{url}/token\"\nclient_id = \"me\"\nclient_secret_env = \"{CLIENT_SECRET}\"\n\
         replay_grace_s = 30\n\n\
         [notify]\nlog = true\n\n[[notify.webhook]]\nname = \"audit\"\n\
         url = \"{url}/hook/{}\"\nsecret_file = {hook:?}\n",
        path.text()
    );
    fs::write(scene.path("vestibule.toml"), text).unwrap();
    canaries.push(path);
}

/// Records of every kind, with a canary in whatever a user or a provider gave. Their ids.
async fn records(
    scene: &Scene,
    server: &TestServer,
    echo: &Echo,
    canaries: &mut Vec<Canary>,
) -> Vec<String> {
    let mut plant = |name: &str| {
        let canary = Canary::fresh(Kind::Secret, name);
        canaries.push(canary.clone());
        canary.text().to_owned()
    };
    let vestibule = scene.vestibule().await;
    let owner = format!("{}@example.com", plant("owner"));
    let url = |path: &str| format!("{}{path}", echo.url).parse().unwrap();
    let connector = |slug: &str| {
        let mut it = Connector::new(slug, url("/authorize"), url("/token"), "me").unwrap();
        it.client_secret = Some(ClientSecret::new("of the host"));
        it
    };
    let registry = Registry::new([connector("mine"), connector("other")]).unwrap();
    let exchange = Arc::new(HttpExchange::new().unwrap());
    let host = vestibule.connections(ConnectionsConfig::new(registry, exchange));
    let mut ids = Vec::new();
    for mood in MOODS {
        let answer = TokenAnswer {
            access_token: AccessToken::new(plant("access")),
            refresh_token: Some(RefreshToken::new(plant(mood))),
            expires_in: Some(HOUR),
            scope: None,
            refresh_expires_in: None,
        };
        let connector = if mood == "stop" { "other" } else { "mine" };
        ids.push(host.store(&owner, connector, None, &answer).await.unwrap().to_string());
    }
    age(&mut server.raw().await, &scene.prefix, HOUR - Duration::from_secs(10)).await;

    let session = plant("session");
    let started = SignIn::new(&owner, "mine", &session, "http://127.0.0.1:9/callback");
    let state = host.start(started).await.unwrap().state;
    let pendings: Pendings<String> = vestibule.pendings(PendingsConfig::default());
    let namespace = Namespace::new(plant("namespace")).unwrap();
    let mut spec = Spec::new("form", plant("payload"));
    spec.subject = Some(owner.clone());
    let pending = pendings.create(&namespace, &spec).await.unwrap().id;
    pendings.complete(pending, Some(&owner), &plant("answer")).await.unwrap();
    ids.push(pending.to_string());

    let scopes = Scopes::default();
    scopes.register(Scope::mcp_auth("/mcp")).unwrap();
    scopes.register(Scope::mcp_headers_auth("")).unwrap();
    let tokens = vestibule.temp_tokens(scopes);
    let token = tokens.mint(&MintSpec::new("mcp_auth", plant("resource"), HOUR / 6)).await.unwrap();
    ids.push(token.id.to_string());

    let credentials = vestibule.header_credentials(HeadersConfig::new(tokens));
    // Who has no session with the host is sent a token.
    let stored = Binding::new(Identity::user(&*owner).unwrap(), plant("server")).unwrap();
    let session = Identity::session(plant("mcp session")).unwrap();
    let asked = Binding::new(session, plant("another server")).unwrap();
    let headers = Headers::new([("x-key", plant("header"))]).unwrap();
    let stored = credentials.upsert(&stored, &headers).await.unwrap();
    let base = LinkBase::parse("https://app.example").unwrap();
    let asked = credentials.initiate(&asked, &base).await.unwrap();
    ids.extend([asked.flow.to_string(), stored.id.to_string()]);
    credentials.drained().await;

    // The secret half alone: the other is the token's id.
    let half = |text: &str| text[36..].to_owned();
    let link = asked.link.expect("a new flow has a link");
    let link = link.secret().split_once("#t=").unwrap().1;
    for (name, text) in [
        ("state", state.secret().to_owned()),
        ("temp token", half(token.token.secret())),
        ("token of a link", half(link)),
    ] {
        canaries.push(Canary::new(Kind::Secret, name, text));
    }
    ids
}
