//! Where a request names its pending.

use std::{fmt, sync::Arc};

use http::request::Parts;
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

use crate::store::PendingId;

/// Finds the text of an id in a request.
pub type FindId = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// Where in a request the id of its pending is. What is percent-encoded is decoded once.
#[derive(Clone)]
#[non_exhaustive]
pub enum IdFrom {
    /// The query parameter of this name. It must be there once: of two, nobody can say which is
    /// meant.
    Query(&'static str),
    /// The segment of the path with this number, from 0. The path is the one that the layer sees:
    /// behind a `Router::nest` it lacks the prefix.
    Segment(usize),
    /// The last segment of the path.
    LastSegment,
    /// What the host finds: the text of the id, decoded; `None` or an empty one is no id.
    With(FindId),
}

impl IdFrom {
    /// What this closure finds; see [`With`](Self::With).
    #[must_use]
    pub fn with(find: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::With(Arc::new(find))
    }

    /// The id, if there is one that can be one. It costs what the URL is long, and no store is
    /// asked.
    pub(super) fn find(&self, parts: &Parts) -> Option<PendingId> {
        // One slash: with two, the first segment is empty, as for every router.
        let path = parts.uri.path();
        let segments = || path.strip_prefix('/').unwrap_or(path).split('/');
        match self {
            Self::Query(name) => once(name, parts.uri.query().unwrap_or_default()),
            Self::Segment(number) => segments().nth(*number).and_then(segment),
            Self::LastSegment => segments().next_back().and_then(segment),
            Self::With(find) => find(parts)?.parse().ok(),
        }
    }
}

impl fmt::Debug for IdFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(name) => write!(f, "Query({name:?})"),
            Self::Segment(number) => write!(f, "Segment({number})"),
            Self::LastSegment => f.write_str("LastSegment"),
            Self::With(_) => f.write_str("With(..)"),
        }
    }
}

fn once(name: &str, query: &str) -> Option<PendingId> {
    let mut named =
        form_urlencoded::parse(query.as_bytes()).filter(|(parameter, _)| parameter == name);
    let (_, id) = named.next()?;
    named.next().is_none().then(|| id.parse().ok())?
}

fn segment(encoded: &str) -> Option<PendingId> {
    percent_decode_str(encoded).decode_utf8().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn find(from: &IdFrom, uri: &str) -> Option<String> {
        let parts = Request::get(uri.replace("ID", ID)).body(()).unwrap().into_parts().0;
        from.find(&parts).map(|id| id.to_string())
    }

    #[test]
    fn an_id_is_found_where_it_is_said_to_be() {
        let with = IdFrom::with(|parts| {
            parts.headers.get("x-id").and_then(|id| id.to_str().ok()).map(str::to_owned)
        });
        for (from, uri) in [
            (&IdFrom::Query("id"), "/callback?id=ID"),
            (&IdFrom::Query("id"), "/?a=%26id%3D1&id=ID&id2=3&ID=4"),
            (&IdFrom::Query("id"), "/?%69d=ID"),
            (&IdFrom::Segment(0), "/ID"),
            (&IdFrom::Segment(1), "/pending/ID/answer"),
            (&IdFrom::LastSegment, "/a/b/ID?id=1"),
        ] {
            assert_eq!(find(from, uri).as_deref(), Some(ID), "{from:?} {uri}");
        }
        let parts = Request::get("/").header("x-id", ID).body(()).unwrap().into_parts().0;
        assert_eq!(with.find(&parts).unwrap().to_string(), ID);
        assert_eq!(find(&with, "/?id=ID"), None);
    }

    #[test]
    fn an_id_is_found_nowhere_else_and_never_guessed() {
        for (from, uri) in [
            (&IdFrom::Query("id"), "/ID"),
            (&IdFrom::Query("id"), "/?id="),
            (&IdFrom::Query("id"), "/?id"),
            (&IdFrom::Query("id"), "/?id=ID&id=ID"),
            (&IdFrom::Query("id"), "/?id=ID&id="),
            (&IdFrom::Query("id"), "/?id=ID&%69%64=ID"),
            (&IdFrom::Segment(0), "/"),
            (&IdFrom::Segment(0), "//ID"),
            (&IdFrom::Segment(0), "///ID"),
            (&IdFrom::Segment(1), "/ID"),
            (&IdFrom::LastSegment, "/ID/"),
            (&IdFrom::LastSegment, "/ID=x"),
            (&IdFrom::LastSegment, "/?id=ID"),
        ] {
            assert_eq!(find(from, uri), None, "{from:?} {uri}");
        }
    }

    #[test]
    fn an_id_is_decoded_once() {
        let encoded = ID.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        let twice = encoded.replace('%', "%25");
        for from in [IdFrom::Query("id"), IdFrom::LastSegment] {
            let uri = |id: &str| format!("/{id}?id={id}");
            assert_eq!(find(&from, &uri(&encoded)).as_deref(), Some(ID));
            assert_eq!(find(&from, &uri(&twice)), None);
            for bad in ["%", "%4", "%zz", "%ff", "%00", "+", "%20"] {
                assert_eq!(find(&from, &uri(&format!("{ID}{bad}"))), None, "{bad}");
                assert_eq!(find(&from, &uri(&format!("{bad}{ID}"))), None, "{bad}");
            }
        }
    }
}
