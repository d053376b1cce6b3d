//! A provider in this process: it answers what a test has it answer, and counts.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use vestibule::{
    Vestibule,
    connection::{
        AccessToken, CodeGrant, Connections, ConnectionsConfig, Connector, ExchangeClass,
        ExchangeError, RefreshToken, Registry, ReplayPolicy, TokenAnswer, TokenExchange,
    },
};

pub type Answer = Result<TokenAnswer, ExchangeError>;

/// A call.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which this is, from 1.
    pub number: usize,
    pub connector: Connector,
    pub with: With,
}

/// What it was asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    Code,
    RefreshToken,
    Client,
}

/// Answers by its script.
pub struct Scripted {
    script: Mutex<Script>,
    calls: AtomicUsize,
    answers: AtomicUsize,
    now: AtomicUsize,
    peak: AtomicUsize,
}

type Script = Arc<dyn Fn(Asked) -> BoxFuture<'static, Answer> + Send + Sync>;

impl Scripted {
    pub fn new<F>(script: impl Fn(Asked) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Arc::new(Self {
            script: Mutex::new(boxed(script)),
            calls: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            now: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        })
    }

    /// Answers with the [`tokens`] of the call's number.
    pub fn giving(life: Duration) -> Arc<Self> {
        Self::new(move |asked| async move { Ok(tokens(asked.number, life)) })
    }

    /// Whoever asks it fails.
    pub fn nobody() -> Arc<Self> {
        Self::new(async |asked| panic!("nobody should ask: {asked:?}"))
    }

    /// From now on.
    pub fn will<F>(&self, script: impl Fn(Asked) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        *self.script.lock().unwrap() = boxed(script);
    }

    /// As [`giving`](Self::giving), from now on.
    pub fn will_give(&self, life: Duration) {
        self.will(move |asked| async move { Ok(tokens(asked.number, life)) });
    }

    pub fn will_fail(&self, class: ExchangeClass, reason: &'static str) {
        self.will(move |_| async move { Err(ExchangeError::new(class, reason)) });
    }

    /// How often it was asked.
    pub fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// How often it gave something.
    pub fn answers(&self) -> usize {
        self.answers.load(SeqCst)
    }

    /// How many asked at the same time, at the most.
    pub fn peak(&self) -> usize {
        self.peak.load(SeqCst)
    }

    async fn ask(&self, connector: &Connector, with: With) -> Answer {
        let number = 1 + self.calls.fetch_add(1, SeqCst);
        self.peak.fetch_max(1 + self.now.fetch_add(1, SeqCst), SeqCst);
        let script = self.script.lock().unwrap().clone();
        let answer = script(Asked { number, connector: connector.clone(), with }).await;
        self.now.fetch_sub(1, SeqCst);
        self.answers.fetch_add(usize::from(answer.is_ok()), SeqCst);
        answer
    }
}

fn boxed<F>(script: impl Fn(Asked) -> F + Send + Sync + 'static) -> Script
where
    F: Future<Output = Answer> + Send + 'static,
{
    Arc::new(move |asked| Box::pin(script(asked)))
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

#[async_trait]
impl TokenExchange for Scripted {
    async fn exchange_code(&self, connector: &Connector, _: CodeGrant<'_>) -> Answer {
        self.ask(connector, With::Code).await
    }

    async fn exchange_refresh_token(&self, connector: &Connector, _: &RefreshToken) -> Answer {
        self.ask(connector, With::RefreshToken).await
    }

    async fn exchange_client_credentials(&self, connector: &Connector) -> Answer {
        self.ask(connector, With::Client).await
    }
}

/// `access-7` and `refresh-7`.
pub fn tokens(number: usize, life: Duration) -> TokenAnswer {
    TokenAnswer {
        access_token: AccessToken::new(format!("access-{number}")),
        refresh_token: Some(RefreshToken::new(format!("refresh-{number}"))),
        expires_in: Some(life),
        scope: None,
        refresh_expires_in: None,
    }
}

/// Its URLs are nobody's.
pub fn connector(slug: &str, replay: ReplayPolicy) -> Connector {
    let url = |path: &str| format!("http://127.0.0.1:9/{path}").parse().unwrap();
    let mut connector = Connector::new(slug, url("authorize"), url("token"), "client").unwrap();
    connector.replay = replay;
    connector
}

pub fn connections_at(
    provider: &Arc<Scripted>,
    vestibule: &Vestibule,
    connectors: impl IntoIterator<Item = Connector>,
) -> Connections {
    let registry = Registry::new(connectors).unwrap();
    vestibule.connections(ConnectionsConfig::new(registry, provider.clone()))
}
