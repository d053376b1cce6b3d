//! What needs a person: asked for on any replica, answered on any other.

use std::time::Duration;

use axum::{
    Form, Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::post,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use vestibule::pending::{Completion, Dedup, Namespace, Pendings, Spec, Waited};

use super::{Event, answer, failed};

/// The routes of the one who asks, and of the one who answers.
pub(super) fn routes(prompts: Pendings<Question>) -> Router {
    Router::new()
        .route("/ask", post(ask))
        .route("/prompts/{prompt}", post(complete))
        .with_state(prompts)
}

/// What the person is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    text: String,
}

#[derive(Deserialize)]
struct Asked {
    /// As in a sign-in: believed here, authenticated in a real host.
    owner: String,
}

/// Asks the owner, unless somebody has asked already, and waits for the word.
async fn ask(
    State(prompts): State<Pendings<Question>>,
    Form(Asked { owner }): Form<Asked>,
) -> Response {
    let Ok(namespace) = Namespace::new(&owner) else {
        return answer(StatusCode::BAD_REQUEST, json!({ "error": "no such owner" }));
    };
    let question = Question { text: "which account may be used?".to_owned() };
    let spec = Spec {
        alias: "account".to_owned(),
        subject: Some(owner),
        dedup: Dedup::Same,
        ..Spec::new("form", question)
    };
    let created = match prompts.create(&namespace, &spec).await {
        Ok(created) => created,
        Err(error) => return failed(&error.to_string()),
    };
    Event::Asked { pending: created.id.to_string(), joined: created.joined }.tell();
    match prompts.wait::<String>(created.id, PATIENCE).await {
        Ok(Waited::Completed { answer: word, by, .. }) => {
            answer(StatusCode::OK, json!({ "answer": word, "by": by }))
        }
        Ok(_) => answer(StatusCode::GATEWAY_TIMEOUT, json!({ "error": "nobody answered" })),
        Err(error) => failed(&error.to_string()),
    }
}

#[derive(Deserialize)]
struct Answered {
    owner: String,
    answer: String,
}

/// Takes the owner's word, on whichever replica it arrives.
async fn complete(
    State(prompts): State<Pendings<Question>>,
    Path(prompt): Path<String>,
    Form(given): Form<Answered>,
) -> Response {
    let nothing = || answer(StatusCode::NOT_FOUND, json!({ "error": "nobody asks for this" }));
    let Ok(prompt) = prompt.parse() else { return nothing() };
    match prompts.complete(prompt, Some(&given.owner), &given.answer).await {
        Ok(Completion::Won(_)) => answer(StatusCode::OK, json!({ "taken": given.answer })),
        Ok(Completion::Lost { how, by, .. }) => answer(
            StatusCode::CONFLICT,
            json!({ "error": format!("{} already", how.as_str()), "by": by }),
        ),
        Ok(_) => nothing(),
        Err(error) => failed(&error.to_string()),
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
