//! What a command has to show: text for people, JSON for programs, and an exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use comfy_table::{Cell, LineStyle, Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 0: done.
    Done,
    /// 1: an error, or a finding.
    Error,
    /// 2: the command was used wrongly.
    Usage,
    /// 3: there is no such record.
    NotFound,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(match code {
            Code::Done => 0,
            Code::Error => 1,
            Code::Usage => 2,
            Code::NotFound => 3,
        })
    }
}

/// The command was used in a way that only its code can tell is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// What a command shows.
#[derive(Debug)]
pub struct Shown {
    text: String,
    json: Value,
    code: Code,
}

impl Shown {
    /// All went well.
    pub(super) fn done(text: impl Into<String>, json: impl Serialize) -> Self {
        Self { text: text.into(), json: value(json), code: Code::Done }
    }

    pub(super) fn with_code(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// There is no such record: `what` says which, and why that may be.
    pub(super) fn not_found(what: impl Into<String>) -> Self {
        let text = what.into();
        Self { json: json!({ "error": "not_found", "message": text }), text, code: Code::NotFound }
    }

    /// What went wrong, as one line.
    #[must_use]
    pub fn failure(error: &anyhow::Error) -> Self {
        let code = if error.is::<Usage>() { Code::Usage } else { Code::Error };
        let word = if code == Code::Usage { "usage" } else { "error" };
        let text = format!("{error:#}");
        Self { json: json!({ "error": word, "message": text }), text, code }
    }

    /// JSON goes to standard output whatever it says; of the rest, what is no answer to standard
    /// error. That nobody reads is no failure.
    #[must_use]
    pub fn print(self, json: bool) -> ExitCode {
        let failed =
            matches!(self.code, Code::Usage | Code::NotFound) || self.json.get("error").is_some();
        let _ = if json {
            writeln!(io::stdout().lock(), "{:#}", self.json)
        } else if failed {
            writeln!(io::stderr().lock(), "vestibule-worker: {}", self.text)
        } else {
            writeln!(io::stdout().lock(), "{}", self.text.trim_end())
        };
        self.code.into()
    }
}

fn value(json: impl Serialize) -> Value {
    serde_json::to_value(json).unwrap_or(Value::Null)
}

/// A table of whole lines: what is in it is not wrapped, so that ids can be copied.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.force_no_tty();
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(Cell::new));
    }
    // Without the spaces that fill a line up.
    let lines = table.trim_fmt();
    lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
