//! What `doctor` finds: one thing, how bad it is, and what to do.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Could not be looked at, or is good to know.
    Note,
    /// Works, and will hurt some day.
    Warning,
    /// Does not work, or loses data.
    Error,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "ERROR",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about, in a word.
    pub about: &'static str,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(about: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, about, what: what.into(), fix: None }
    }

    pub(super) fn note(
        about: &'static str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Note, about, what: what.into(), fix: Some(fix.into()) }
    }

    pub(super) fn warning(
        about: &'static str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, about, what: what.into(), fix: Some(fix.into()) }
    }

    pub(super) fn error(
        about: &'static str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Error, about, what: what.into(), fix: Some(fix.into()) }
    }

    /// What this user may not look at.
    pub(super) fn unseen(about: &'static str, what: &str) -> Self {
        Self::note(
            about,
            format!("{what} cannot be seen by this user"),
            "look with the inspector's user: `acl --role inspector`",
        )
    }
}
