//! The people of the demo, over real HTTP.
//!
//! All replicas share one redirect URI, as behind one load balancer. The browser plays that load
//! balancer too: it takes the provider's redirect to whichever replica it is told.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::{Client, Method, Response, StatusCode, header, redirect::Policy};
use serde::Deserialize;
use url::{Position, Url};
use vestibule::{
    http::TEMP_TOKEN_HEADER,
    store::PendingId,
    token::{TempToken, TokenLink},
};

/// One person's browser.
#[derive(Debug, Clone)]
pub(super) struct Browser {
    client: Client,
    cookie: Option<String>,
}

/// What a replica answered to a callback.
#[derive(Debug)]
pub(super) enum Landing {
    SignedIn { connection: String },
    Refused { status: StatusCode, told: String },
}

/// What a replica vended.
#[derive(Debug, Deserialize)]
pub(super) struct Vended {
    pub(super) access_token: String,
    pub(super) path: String,
}

/// What a replica answered instead.
#[derive(Debug, Deserialize)]
pub(super) struct NotVended {
    pub(super) error: String,
    /// In a word.
    pub(super) reason: String,
}

/// What a caller is told who asked.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    pub(super) answer: String,
    /// The replica that took it.
    pub(super) by: String,
}

/// A link as its page reads it: the token is in the fragment, which is sent to nobody.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) path: String,
    pub(super) token: TempToken,
}

impl Browser {
    pub(super) fn new() -> anyhow::Result<Self> {
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()?;
        Ok(Self { client, cookie: None })
    }

    /// Another person's: it shares connections, not the session.
    pub(super) fn another(&self) -> Self {
        Self { client: self.client.clone(), cookie: None }
    }

    /// Presses "sign in" on a replica: the page of the provider that it leads to.
    pub(super) async fn start(
        &mut self,
        port: u16,
        connector: &str,
        owner: &str,
    ) -> anyhow::Result<Url> {
        let mut url = on(port, "/login")?;
        url.query_pairs_mut().append_pair("owner", owner).append_pair("connector", connector);
        let response = self.open(url).await?;
        let cookie = response.headers().get(header::SET_COOKIE).context("no session cookie")?;
        let cookie = cookie.to_str()?.split(';').next().unwrap_or_default().to_owned();
        let page = Url::parse(&location(response).await?)?;
        self.cookie = Some(cookie);
        Ok(page)
    }

    /// Signs in at the provider as `subject` and agrees: what the provider's redirect asks of the
    /// service.
    pub(super) async fn agree(&self, mut page: Url, subject: &str) -> anyhow::Result<String> {
        page.query_pairs_mut().append_pair("login_hint", subject);
        // The provider is another site: it does not get the service's cookie.
        let back = Url::parse(&location(self.another().open(page).await?).await?)?;
        let query = back.query().context("the provider redirects without a query")?;
        Ok(format!("{}?{query}", back.path()))
    }

    /// Follows the provider's redirect to a replica.
    pub(super) async fn come_back(&self, port: u16, to: &str) -> anyhow::Result<Landing> {
        #[derive(Deserialize)]
        struct Page {
            connection: String,
        }
        let response = self.open(on(port, to)?).await?;
        let status = response.status();
        let told = response.text().await?;
        if status != StatusCode::OK {
            return Ok(Landing::Refused { status, told });
        }
        let page: Page = serde_json::from_str(&told)?;
        Ok(Landing::SignedIn { connection: page.connection })
    }

    /// Asks a replica for an access token.
    pub(super) async fn vend(
        &self,
        port: u16,
        owner: &str,
        connection: &str,
    ) -> anyhow::Result<Vended> {
        match self.vend_or_reason(port, owner, connection).await? {
            Ok(vended) => Ok(vended),
            Err(refused) => bail!("vend: {}", refused.error),
        }
    }

    /// The same, for who counts refusals by their reason.
    pub(super) async fn vend_or_reason(
        &self,
        port: u16,
        owner: &str,
        connection: &str,
    ) -> anyhow::Result<Result<Vended, NotVended>> {
        let mut url = on(port, "/vend")?;
        url.query_pairs_mut().append_pair("owner", owner).append_pair("connection", connection);
        let response = self.open(url).await?;
        if response.status() == StatusCode::OK {
            return Ok(Ok(response.json().await?));
        }
        Ok(Err(response.json().await?))
    }

    /// What a replica answers to who asks for an access token.
    pub(super) async fn vend_status(
        &self,
        port: u16,
        owner: &str,
        connection: &str,
    ) -> anyhow::Result<StatusCode> {
        let mut url = on(port, "/vend")?;
        url.query_pairs_mut().append_pair("owner", owner).append_pair("connection", connection);
        Ok(self.open(url).await?.status())
    }

    /// Tells a replica whether the owner may use a connection, and returns what came of it.
    pub(super) async fn access(
        &self,
        port: u16,
        owner: &str,
        connection: &str,
        granted: bool,
    ) -> anyhow::Result<String> {
        let form = [
            ("owner", owner),
            ("connection", connection),
            ("granted", if granted { "true" } else { "false" }),
        ];
        let response = self.client.post(on(port, "/access")?).form(&form).send().await?;
        let status = response.status();
        ensure!(status == StatusCode::OK, "access: {status}: {}", response.text().await?);
        Ok(response.text().await?)
    }

    /// Calls a replica that cannot go on without the owner's word, and waits with it.
    pub(super) async fn ask(&self, port: u16, owner: &str) -> anyhow::Result<Told> {
        let asked = self.client.post(on(port, "/ask")?).form(&[("owner", owner)]).send().await?;
        let status = asked.status();
        ensure!(status == StatusCode::OK, "ask: {status}: {}", asked.text().await?);
        Ok(asked.json().await?)
    }

    /// Gives the owner's word for a prompt to a replica.
    pub(super) async fn complete(
        &self,
        port: u16,
        prompt: PendingId,
        owner: &str,
        answer: &str,
    ) -> anyhow::Result<(StatusCode, String)> {
        let url = on(port, &format!("/prompts/{prompt}"))?;
        let request = self.client.post(url).form(&[("owner", owner), ("answer", answer)]);
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// Has a replica send the owner a link to a new form, and opens the page that it leads to.
    pub(super) async fn send_link(&self, port: u16, owner: &str) -> anyhow::Result<Link> {
        #[derive(Deserialize)]
        struct Sent {
            link: String,
        }
        let url = on(port, "/forms")?;
        let response = self.client.post(url).form(&[("owner", owner)]).send().await?;
        let Sent { link } = response.error_for_status()?.json().await?;
        let url = Url::parse(&link)?;
        let page = self.open(on(port, &url[Position::BeforePath..Position::AfterQuery])?).await?;
        ensure!(page.status() == StatusCode::OK, "the page of a link: {}", page.status());
        // Here begins what the script of that page does.
        let token = url.fragment().and_then(TokenLink::token_in).context("a link's token")?;
        let form = url.query_pairs().find(|(name, _)| name == "id").context("a link's form")?.1;
        Ok(Link { path: format!("/forms/{form}"), token })
    }

    /// What a replica answers to the page that a link leads to, when it asks for this.
    pub(super) async fn by_link(
        &self,
        port: u16,
        method: Method,
        path: &str,
        token: &TempToken,
    ) -> anyhow::Result<(StatusCode, String)> {
        let request = self.client.request(method, on(port, path)?);
        let response = request.header(TEMP_TOKEN_HEADER, token.secret()).send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// Whose account the provider opens to this access token.
    pub(super) async fn subject(
        &self,
        userinfo: &str,
        access_token: &str,
    ) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Userinfo {
            sub: String,
        }
        let response = self.client.get(userinfo).bearer_auth(access_token).send().await?;
        let userinfo: Userinfo = response.error_for_status()?.json().await?;
        Ok(userinfo.sub)
    }

    async fn open(&self, url: Url) -> anyhow::Result<Response> {
        let mut request = self.client.get(url);
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        // Without its URL: that holds a code or a state.
        request.send().await.map_err(|error| error.without_url().into())
    }
}

fn on(port: u16, path_and_query: &str) -> anyhow::Result<Url> {
    Ok(Url::parse(&format!("http://127.0.0.1:{port}{path_and_query}"))?)
}

/// Where a redirect leads.
async fn location(response: Response) -> anyhow::Result<String> {
    if response.status() == StatusCode::FOUND
        && let Some(location) = response.headers().get(header::LOCATION)
    {
        return Ok(location.to_str()?.to_owned());
    }
    bail!("{} instead of a redirect: {}", response.status(), response.text().await?)
}
