//! Canaries in header credentials: their values, and whose they are.

use vestibule::{
    headers::{Binding, BindingParts, Headers, HeadersConfig, Identity},
    token::LinkBase,
};

use super::{Host, places::Watched};

impl Host {
    pub(super) async fn headers(&mut self, watched: &mut Watched) {
        let config = || HeadersConfig::new(self.vestibule.temp_tokens(self.scopes.clone()));
        let all = self.vestibule.header_credentials(config());
        let stranger = self.stranger.header_credentials(config());
        let (person, client) = (self.person.text().to_owned(), self.resource.text().to_owned());
        let headers = Headers::new([("x-key", self.header.text())]).unwrap();
        let bad = Headers::new([("x-key", format!("{}\r\n", self.header.text()))]);
        watched.see(&(&all, &config(), &headers, bad));
        let base = LinkBase::parse("https://app.example").unwrap();
        for identity in [Identity::user(&*person), Identity::session(&*person)] {
            let binding = Binding::new(identity.unwrap(), &*client).unwrap();
            let both = BindingParts {
                user: Some(&person),
                session: Some(&person),
                ..BindingParts::default()
            };
            watched.see(&(&binding, both.binding(), both));
            watched.outcome(all.upsert(&binding, &headers).await);
            watched.outcome(all.vend(&binding).await);
            watched.outcome(stranger.get(&binding).await);
            watched.outcome(all.mark_needs_update(&client, "changed").await);
            watched.outcome(all.vend(&binding).await);
            watched.outcome(all.list(&client, None, None, 100).await);
            let asked = watched.outcome(all.initiate(&binding, &base).await);
            watched.outcome(all.pending_flows(binding.identity(), None, 10).await);
            if let Some(asked) = asked {
                if let Some(link) = &asked.link {
                    let token = link.secret().split_once("#t=").unwrap().1;
                    self.remember("token of a link", &token[36..]);
                }
                watched.outcome(all.flow(asked.flow).await);
                watched.outcome(stranger.claim(asked.flow).await);
                if let Some(claim) = watched.outcome(all.claim(asked.flow).await) {
                    watched.outcome(all.claim(asked.flow).await);
                    watched.outcome(all.submit(&claim, &headers).await);
                    watched.outcome(all.submit(&claim, &headers).await);
                }
            }
            watched.outcome(all.initiate(&binding, &base).await);
            watched.outcome(all.withdraw_access(&binding, "left").await);
            watched.outcome(all.restore_access(&binding).await);
            watched.outcome(all.upsert(&binding, &headers).await);
            watched.outcome(all.revoke(&binding).await);
            // So that there is something in the dump.
            watched.outcome(all.upsert(&binding, &headers).await);
            watched.outcome(all.initiate(&binding, &base).await);
        }
        all.drained().await;
    }
}
