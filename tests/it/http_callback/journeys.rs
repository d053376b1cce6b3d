//! From the link to the answer, on another replica than the one that asked.

use std::time::Duration;

use axum::http::Method;
use tokio::task::JoinSet;
use vestibule::{
    pending::{Namespace, Waited},
    store::PendingId,
};

use super::host::{Door, PAGE, app, everywhere, namespace, on_redis, question, raw_redis};
use crate::support::{ageing::age, stores::fresh_prefix};

/// P-8, P-11: created on one replica, shown and answered on the other, and gone after that; whoever
/// waits on the first learns which answer it was.
#[tokio::test]
async fn a_callback_is_shown_answered_and_gone() {
    for replicas in everywhere().await {
        let answers = [
            ("action=submit&text=main", "accepted", Some("accepted: main")),
            ("action=reject", "rejected", Some("rejected")),
            ("action=cancel", "cancelled", None),
        ];
        for (number, (form, said, told)) in answers.into_iter().enumerate() {
            let id = replicas.create().await;
            let path = [format!("/callback?id={id}"), format!("/pending/{id}")][number % 2].clone();
            replicas.door.get(&path).await.is(200, PAGE);
            replicas.door.post(&path, "action=shrug").await.is(422, "submit, reject or cancel");
            replicas.door.post(&path, form).await.is(200, said);

            replicas.door.get(&path).await.is_refusal(404, "pending not found");
            replicas.door.post(&path, form).await.is_refusal(404, "pending not found");
            assert!(replicas.first.get(id).await.unwrap().is_none());
            let waited = replicas.first.wait::<String>(id, Duration::ZERO).await.unwrap();
            match told {
                Some(told) => {
                    let Waited::Completed { answer, by, .. } = waited else { panic!("{waited:?}") };
                    assert_eq!((answer.as_str(), by.as_str()), (told, "b"));
                }
                None => assert_eq!(waited, Waited::Cancelled),
            }
        }
    }
}

/// P-8, P-11: an id that is missing, empty or none is 400; one that is not there is 404; on every
/// verb alike.
#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    for replicas in everywhere().await {
        let id = replicas.create().await;
        let unknown = PendingId::random(id.namespace());
        for method in [Method::GET, Method::POST] {
            let ask = async |path: &str| replicas.door.ask(method.clone(), path, "action=x").await;
            for path in ["/callback", "/callback?id=", "/callback?id=7&x=1", "/pending/7"] {
                ask(path).await.is_refusal(400, "invalid pending id");
            }
            for path in [format!("/callback?id={unknown}"), format!("/pending/{unknown}")] {
                ask(&path).await.is_refusal(404, "pending not found");
            }
        }
        // A path that is not the layer's is none of its business.
        assert_eq!(replicas.door.get("/elsewhere").await.status, 404);
        assert_eq!(replicas.door.get("/elsewhere").await.body, "");
    }
}

/// P-8: mail scanners and browsers that fetch the link, with whatever harmless verb, leave it.
#[tokio::test]
async fn looking_consumes_nothing() {
    for replicas in everywhere().await {
        let id = replicas.create().await;
        let path = format!("/pending/{id}");
        for _ in 0..20 {
            replicas.door.get(&path).await.is(200, PAGE);
            assert_eq!(replicas.door.ask(Method::HEAD, &path, "").await.status, 200);
            for method in [Method::OPTIONS, Method::PUT, Method::DELETE] {
                assert_eq!(replicas.door.ask(method, &path, "").await.status, 405);
            }
        }
        let left = replicas.first.get(id).await.unwrap().unwrap();
        assert_eq!((left.data, left.namespace), (question().data, namespace()));
        replicas.door.post(&path, "action=submit").await.is(200, "accepted");
    }
}

/// P-4, P-11: the button is pressed on both replicas at once, while others look: one is accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_answers_is_accepted() {
    let [a, b] = on_redis(&fresh_prefix()).await;
    let apps = [app(&a), app(&b)];
    for _ in 0..5 {
        let id = a.create(&namespace(), &question()).await.unwrap().id;
        let mut people = JoinSet::new();
        for number in 0..32 {
            let door = Door::Service(apps[number % 2].clone());
            people.spawn(async move {
                let path = format!("/pending/{id}");
                let seen = door.get(&path).await;
                assert!([200, 404].contains(&seen.status), "{seen:?}");
                door.post(&path, "action=submit").await
            });
        }
        let heard = people.join_all().await;
        let count = |status| heard.iter().filter(|heard| heard.status == status).count();
        assert_eq!((count(200), count(410) + count(404)), (1, 31), "{heard:?}");
        let waited = a.wait::<String>(id, Duration::ZERO).await.unwrap();
        assert!(matches!(waited, Waited::Completed { .. }), "{waited:?}");
    }
}

/// P-11, P-12: past its life it is not found, by looking and by answering.
#[tokio::test]
async fn an_expired_pending_is_not_found() {
    let prefix = fresh_prefix();
    let [a, b] = on_redis(&prefix).await;
    let door = Door::over_tcp(app(&b)).await;
    let path = format!("/pending/{}", a.create(&namespace(), &question()).await.unwrap().id);
    age(&mut raw_redis().await, &prefix, Duration::from_secs(599)).await;
    door.get(&path).await.is(200, PAGE);
    age(&mut raw_redis().await, &prefix, Duration::from_secs(1)).await;
    door.get(&path).await.is_refusal(404, "pending not found");
    door.post(&path, "action=submit").await.is_refusal(404, "pending not found");
}

/// P-5, P-11: a namespace that was cleared has no callbacks; another keeps its own.
#[tokio::test]
async fn a_cleared_pending_is_not_found() {
    for replicas in everywhere().await {
        let id = replicas.create().await;
        let kept = replicas.first.create(&Namespace::default(), &question()).await.unwrap().id;
        replicas.first.clear(&namespace()).await.unwrap();
        replicas.door.get(&format!("/pending/{id}")).await.is_refusal(404, "pending not found");
        let page = "default true: deploy asks: which branch?";
        replicas.door.get(&format!("/pending/{kept}")).await.is(200, page);
        let waited = replicas.second.wait::<String>(id, Duration::ZERO).await.unwrap();
        assert_eq!(waited, Waited::Cleared);
    }
}
