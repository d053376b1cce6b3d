//! Where a flow began, in the words of OpenTelemetry: the only file that knows them.

use std::fmt;

use opentelemetry::{
    Context,
    context::FutureExt,
    trace::{SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The attribute by which the end of a flow is found from its trace id, where it is only linked.
const FLOW_TRACE: &str = "vestibule.flow.trace_id";

/// A span that is sampled: one that is not leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Began {
    trace: TraceId,
    span: SpanId,
}

impl Began {
    /// The caller's span, of `tracing` or of OpenTelemetry alone.
    pub(super) fn here() -> Option<Self> {
        Self::of(&Span::current().context()).or_else(|| Self::of(&Context::current()))
    }

    fn of(context: &Context) -> Option<Self> {
        let span = context.span();
        let span = span.span_context();
        let began = Self { trace: span.trace_id(), span: span.span_id() };
        (span.is_valid() && span.is_sampled()).then_some(began)
    }

    /// Takes a `traceparent` of version 00, in the one form that it has, if it is sampled.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        // What converts digits takes signs and capitals as well.
        let mut digits = |length: usize| {
            let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            parts.next().filter(|part| part.len() == length && part.bytes().all(is_digit))
        };
        let (version, trace, span, flags) = (digits(2)?, digits(32)?, digits(16)?, digits(2)?);
        if version != "00" || parts.next().is_some() {
            return None;
        }
        let began =
            Self { trace: TraceId::from_hex(trace).ok()?, span: SpanId::from_hex(span).ok()? };
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
        (began.context().is_valid() && flags.is_sampled()).then_some(began)
    }

    fn context(self) -> SpanContext {
        let (flags, state) = (TraceFlags::SAMPLED, TraceState::NONE);
        SpanContext::new(self.trace, self.span, flags, true, state)
    }

    pub(super) fn join(self, span: &Span) {
        let parent = Context::new().with_remote_span_context(self.context());
        if Self::here().is_some() || span.set_parent(parent).is_err() {
            self.link(span);
            span.set_attribute(FLOW_TRACE, self.trace.to_string());
        }
    }

    pub(super) fn link(self, span: &Span) {
        span.add_link(self.context());
    }
}

/// As a `traceparent`.
impl fmt::Display for Began {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.trace, self.span)
    }
}

/// A span that the host's filter keeps from OpenTelemetry would not take the trace along.
pub(super) fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    work.with_current_context()
}

pub(super) fn fail(span: &Span, error: &dyn fmt::Display) {
    if !span.is_disabled() {
        span.set_status(Status::error(error.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn one_form_goes_both_ways() {
        assert_eq!(Began::parse(GOOD).unwrap().to_string(), GOOD);
        // Other flags than *sampled* are not for us to pass on.
        assert_eq!(Began::parse(&GOOD.replace("-01", "-03")).unwrap().to_string(), GOOD);
    }

    #[test]
    fn no_other_form_is_taken() {
        let without = |text: &str, at: usize| [&text[..at], &text[at + 1..]].concat();
        for at in 0..GOOD.len() {
            assert_eq!(Began::parse(&without(GOOD, at)), None, "without byte {at}");
            for other in ["g", "A", "+", " ", "-", "é", "\0", "00"] {
                let bad = [&GOOD[..at], other, &GOOD[at + 1..]].concat();
                let same = bad == GOOD;
                assert!(same || Began::parse(&bad).is_none(), "{bad:?}");
            }
        }
        for bad in [
            "",
            "-",
            "---",
            &GOOD[..53],
            &GOOD.replace("-01", "-00"),
            &GOOD.replace("00-0a", "01-0a"),
            &GOOD.replace("00-0a", "ff-0a"),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &format!("{GOOD}-"),
            &format!("{GOOD}-00"),
            &format!(" {GOOD}"),
            &format!("{GOOD}\n"),
            &GOOD.repeat(1000),
        ] {
            assert_eq!(Began::parse(bad), None, "{bad:?}");
        }
    }
}
