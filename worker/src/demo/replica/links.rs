//! Forms that a link leads to: whoever has the link may see and fill in that one, and do nothing
//! else.

use std::{sync::Arc, time::Duration};

use axum::{
    Form, Router,
    extract::State,
    http::StatusCode,
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use vestibule::{
    Vestibule,
    http::TempTokenLayer,
    pending::{Completion, Namespace, Pendings, Spec},
    token::{LinkBase, MintSpec, PAGE_HEADERS, Scope, Scopes, TempTokens, ValidatedToken},
};

use super::{answer, failed};

/// The routes of the forms. A scope lists the requests that a link stands for.
pub(super) fn routes(vestibule: &Vestibule, forms: Pendings<()>) -> anyhow::Result<Router> {
    let scope = Scope::new(SCOPE)
        .with_placeholder("{form}")
        .with_route("GET", "/forms/{form}")
        .with_route("POST", "/forms/{form}")
        .with_max_ttl(LIFE);
    let scopes = Scopes::new();
    scopes.register(scope)?;
    let tokens = vestibule.temp_tokens(scopes);
    let base = LinkBase::parse("http://service.localhost")?;
    Ok(Router::new()
        .route("/forms/{form}", get(show).post(fill_in).delete(for_owners_only))
        .route("/account", get(for_owners_only))
        .route_layer(TempTokenLayer::new(tokens.clone()))
        .route("/form", get(page))
        .route("/forms", post(send))
        .with_state(Arc::new(Links { forms, tokens, base })))
}

struct Links {
    forms: Pendings<()>,
    tokens: TempTokens,
    base: LinkBase,
}

#[derive(Deserialize)]
struct Wanted {
    owner: String,
}

/// Opens a form for the owner: what the demo gets here, a real host sends to that one person.
async fn send(State(it): State<Arc<Links>>, Form(Wanted { owner }): Form<Wanted>) -> Response {
    let made = async {
        let created = it.forms.create(&Namespace::new(owner)?, &Spec::new("form", ())).await?;
        let form = created.id.to_string();
        let minted = it.tokens.mint(&MintSpec::new(SCOPE, &form, LIFE)).await?;
        anyhow::Ok(it.base.page("/form")?.with_query("id", &form).with_token(&minted.token))
    };
    match made.await {
        Ok(link) => answer(StatusCode::OK, json!({ "link": link.secret() })),
        Err(error) => failed(&error.to_string()),
    }
}

/// What a link opens, for anybody: without the fragment, which no browser sends, there is nothing to
/// see. Its script asks for the rest.
async fn page() -> Response {
    (PAGE_HEADERS, Html(include_str!("form.html"))).into_response()
}

async fn show(link: ValidatedToken) -> Response {
    answer(StatusCode::OK, json!({ "form": link.resource }))
}

/// Ends the form, and with it every link to it.
async fn fill_in(State(it): State<Arc<Links>>, link: ValidatedToken) -> Response {
    let done = async {
        let form = link.resource.parse()?;
        let completion = it.forms.complete(form, None, &"filled in").await?;
        let links = it.tokens.revoke_resource(SCOPE, &link.resource).await?;
        anyhow::Ok((completion, links))
    };
    match done.await {
        Ok((Completion::Won(_), links)) => answer(StatusCode::OK, json!({ "links_ended": links })),
        Ok(_) => answer(StatusCode::CONFLICT, json!({ "error": "filled in already" })),
        Err(error) => failed(&error.to_string()),
    }
}

/// What an owner may do who has signed in. No link is for it, so none gets here.
async fn for_owners_only(_: ValidatedToken) -> StatusCode {
    StatusCode::NO_CONTENT
}

const SCOPE: &str = "form";
const LIFE: Duration = Duration::from_secs(600);
