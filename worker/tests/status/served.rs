//! The page, served in this process.

use std::{sync::Arc, time::Duration};

use axum::{Router, response::Html, routing::get};
use tokio::{net::TcpListener, sync::watch};
use vestibule::{
    inspect::{Inspector, Names, Watch},
    store::redis::RedisConfig,
};
use vestibule_worker::{
    admin::Readiness,
    status::{self, About, Access, Status},
    sweeper::LastPass,
};

use super::scene::Scene;

/// A server of the page; it ends with the test.
pub(crate) struct Served {
    pub(crate) origin: String,
    pub(crate) readiness: Readiness,
}

impl Served {
    /// As who looks at everything.
    pub(crate) async fn of(scene: &Scene, access: Access) -> Self {
        Self::at(scene, &scene.redis_for(&["top"]), access).await
    }

    /// As a user whose URL that is.
    pub(crate) async fn at(scene: &Scene, redis: &str, access: Access) -> Self {
        let config = RedisConfig::new(redis).unwrap().with_prefix(&*scene.prefix).unwrap();
        let names = Names::new(scene.keys.naming.clone());
        let (_, connectors) = watch::channel(vec!["demo".into()]);
        let watch = Watch::new(Inspector::new(config)).with_connectors(names, connectors);
        let readiness = Readiness::default();
        readiness.set(true);
        let about = About {
            instance: "worker-a".into(),
            cadences: vec![
                ("refresh_due", Duration::from_secs(1)),
                ("orphans", Duration::from_secs(86_400)),
                ("expired", Duration::from_secs(60)),
                ("reseal", Duration::from_secs(300)),
                ("events", Duration::from_secs(5)),
                ("history", Duration::from_secs(3600)),
            ],
        };
        let status = Status::new(watch, about, readiness.clone(), LastPass::default());
        let page = status::routes(Arc::new(status), access);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, page.merge(measured())).await });
        Self { origin, readiness }
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        reqwest::get(format!("{}{path}", self.origin)).await.unwrap()
    }

    pub(crate) async fn page(&self) -> String {
        let response = self.get("/").await;
        assert_eq!(response.status(), 200);
        response.text().await.unwrap()
    }

    /// The same page at a phone's width, without the policy that lets no script run: a page from
    /// elsewhere measures it in its title.
    pub(crate) async fn measured(&self, html: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let html = html.to_owned();
        let inner = Router::new().route("/inner", get(|| async { Html(html) })).merge(measured());
        tokio::spawn(async move { axum::serve(listener, inner).await });
        format!("{origin}/measure")
    }
}

/// A phone.
const PHONE: u32 = 390;

fn measured() -> Router {
    let wrapper = format!(
        "<!doctype html><style>body{{margin:0}}iframe{{border:0;width:{PHONE}px;height:2600px}}</style>\
         <title>measuring</title><iframe src=/inner></iframe><script>\
         onload=()=>{{const d=document.querySelector('iframe').contentDocument,w={PHONE};\
         const wide=[...d.querySelectorAll('body *')].filter(e=>e.getBoundingClientRect().right>w+1);\
         document.title='inner '+JSON.stringify(d.title)+' width '+d.documentElement.scrollWidth+\
         ' wide '+wide.map(e=>e.tagName+'.'+e.className).slice(0,5)}}</script>"
    );
    Router::new().route("/measure", get(|| async { Html(wrapper) }))
}
