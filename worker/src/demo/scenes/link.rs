//! A link that one replica sends is good on every other, for its own form, until that is filled in.

use reqwest::{Method, StatusCode};

use crate::demo::{browser::Link, redis_cli, report::Report, stage::Stage};

pub(super) async fn one_form(stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
    let narrator = stage.narrator;
    narrator.title("5  A sends a link; it opens one form, on any replica, until that is done");
    let [a, b, c] = [0, 1, 2].map(|n: usize| stage.replicas[n].port);
    let browser = stage.browser.another();
    let Link { path, token } = browser.send_link(a, "ada").await?;
    narrator.say("A sends ada http://service.localhost/form?id=…#t=…; Redis knows a digest of it:");
    narrator.show(redis_cli::one_shots(&mut stage.redis, "token").await?);

    let another = browser.send_link(a, "ada").await?;
    let (opened, _) = browser.by_link(b, Method::GET, &path, &token).await?;
    let elsewhere = [
        (Method::GET, another.path.as_str(), "another form"),
        (Method::GET, "/account", "ada's account"),
        (Method::DELETE, path.as_str(), "to delete the form"),
    ];
    let mut answers = Vec::new();
    for (method, path, what) in elsewhere {
        let (status, _) = browser.by_link(b, method, path, &token).await?;
        report.link_refused_elsewhere += usize::from(status == StatusCode::UNAUTHORIZED);
        answers.push(format!("{what} {}", status.as_u16()));
    }
    let answers = answers.join(", ");
    narrator.say(format!("Its page asks B for the form: {}; but {answers}", opened.as_u16()));

    let (filled_in, told) = browser.by_link(c, Method::POST, &path, &token).await?;
    narrator.say(format!("ada fills it in on C: {filled_in} {told}"));
    report.link_crosses_replicas = (opened, filled_in) == (StatusCode::OK, StatusCode::OK);
    let again = |port| browser.by_link(port, Method::GET, &path, &token);
    let (on_a, on_b, on_c) = tokio::try_join!(again(a), again(b), again(c))?;
    let refused = (StatusCode::UNAUTHORIZED, "unauthorized".to_owned());
    report.link_refused_afterwards =
        [&on_a, &on_b, &on_c].iter().filter(|it| **it == &refused).count();
    let (other, _) = browser.by_link(a, Method::GET, &another.path, &another.token).await?;
    narrator.say(format!(
        "from then on the link gets {}, {} and {} from A, B and C; the other form's link {}",
        on_a.0.as_u16(),
        on_b.0.as_u16(),
        on_c.0.as_u16(),
        other.as_u16()
    ));
    judge(report, other == StatusCode::OK);
    Ok(())
}

fn judge(report: &mut Report, other_lives: bool) {
    let (elsewhere, afterwards) = (report.link_refused_elsewhere, report.link_refused_afterwards);
    report.prove(
        "A link from A opens its form on B, and nothing else",
        format!("{elsewhere} of 3 others refused"),
        report.link_crosses_replicas && elsewhere == 3,
    );
    report.prove(
        "Once the form is filled in, its links are gone everywhere",
        format!("refused by {afterwards} of 3"),
        afterwards == 3 && other_lives,
    );
}
