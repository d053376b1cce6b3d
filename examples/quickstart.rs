//! The whole of it in one process, on the memory store: no server needed.
//!
//! ```sh
//! cargo run --example quickstart
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use vestibule::{
    Vestibule,
    connection::{
        AccessToken, CodeGrant, ConnectionsConfig, Connector, ExchangeError, RefreshToken,
        Registry, TokenAnswer, TokenExchange,
    },
    pkce::{OauthState, PkceError, PkceState, PkceVerifier},
};

#[expect(clippy::disallowed_methods, reason = "an example plays the callers")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let vestibule = Vestibule::in_memory();

    // A sign-in leaves for the provider, and its state stays behind, sealed.
    let states = vestibule.pkce();
    let (state, verifier) = (OauthState::random(), PkceVerifier::random());
    let challenge = verifier.challenge();
    states.put(&state, &PkceState::new("github", verifier)).await?;
    println!("left with the challenge {}", challenge.as_str());

    // It comes back, on whichever replica: exactly one caller gets it.
    let record = states.take(&state).await?;
    println!("came back, and the verifier fits: {}", record.verifier.challenge() == challenge);
    let replay = states.take(&state).await;
    println!("again? {}", matches!(replay, Err(PkceError::StateNotFound(_))));

    // A credential that runs out at once, twenty callers, one refresh.
    let provider = Arc::new(Provider::default());
    let connector = Connector::new(
        "github",
        "https://github.example/authorize".parse()?,
        "https://github.example/token".parse()?,
        "my-client",
    )?;
    let registry = Registry::new([connector])?;
    let connections = vestibule.connections(ConnectionsConfig::new(registry, provider.clone()));
    let id = connections.store("alice", "github", None, &answer(0, Duration::ZERO)).await?;

    let callers: Vec<_> = (0..20)
        .map(|_| {
            let (connections, id) = (connections.clone(), id.clone());
            tokio::spawn(async move { connections.vend("alice", &id).await })
        })
        .collect();
    let mut tokens = Vec::new();
    for caller in callers {
        tokens.push(caller.await??.access_token.secret().to_owned());
    }
    tokens.dedup();
    println!("{} token for 20 callers, {} provider call", tokens.len(), provider.calls());

    // Somebody else's connection is not found, never forbidden.
    if let Err(error) = connections.vend("mallory", &id).await {
        println!("mallory: {error}");
    }
    Ok(())
}

/// A provider in a few lines; `HttpExchange` (feature `exchange`) talks to real ones.
#[derive(Debug, Default)]
struct Provider {
    calls: AtomicU32,
}

impl Provider {
    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenExchange for Provider {
    async fn exchange_code(
        &self,
        _: &Connector,
        _: CodeGrant<'_>,
    ) -> Result<TokenAnswer, ExchangeError> {
        Ok(answer(0, Duration::from_secs(3600)))
    }

    async fn exchange_refresh_token(
        &self,
        _: &Connector,
        _: &RefreshToken,
    ) -> Result<TokenAnswer, ExchangeError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(answer(call, Duration::from_secs(3600)))
    }
}

fn answer(number: u32, life: Duration) -> TokenAnswer {
    TokenAnswer {
        access_token: AccessToken::new(format!("access-{number}")),
        refresh_token: Some(RefreshToken::new(format!("refresh-{number}"))),
        expires_in: Some(life),
        scope: None,
        refresh_expires_in: None,
    }
}
