//! The bytes of a one-shot record.
//!
//! What a person reads comes first: a fixed-width ASCII head, then one display line; then the
//! digests in slots of 16 raw bytes, then the sealed body. Scripts patch the fixed slots in place.
//!
//! ```text
//! v1 live      1763697824123 1763698424123 0000000000000 0104
//! kind=mcp connection=github
//! <put's request id 16> <taker's 16> <subject 16> <sealed body>
//! ```

use std::{io::Write, ops::Range};

use crate::{
    digest::Digest,
    store::{Ending, NewRecord, Outcome},
};

/// The head's width.
const HEAD: usize = 60;
/// In the head: where the binary part begins.
const OFFSET: Range<usize> = 55..59;
/// The three digests that every record has.
const SLOTS: usize = 48;
/// The display line's cap: what is past it is cut.
const DISPLAY: usize = 200;

/// Writes a live record.
pub(super) fn write(record: &NewRecord<'_>, now_ms: u64, ttl_ms: u64) -> Vec<u8> {
    let slots = [record.request, Digest::NONE, Digest::NONE];
    write_slots(now_ms, ttl_ms, record.display, &slots, record.body)
}

/// Writes a live record with the slots of its kind: put, taker, subject, and what follows. It may
/// live for `ceiling_ms` at the most.
pub(super) fn write_slots(
    now_ms: u64,
    ceiling_ms: u64,
    display: &[(&'static str, &str)],
    slots: &[Digest],
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + DISPLAY / 2 + 16 * slots.len() + body.len());
    bytes.extend_from_slice(b"v1 live      ");
    bytes.extend_from_slice(&digits::<13>(now_ms));
    bytes.push(b' ');
    bytes.extend_from_slice(&digits::<13>(now_ms.saturating_add(ceiling_ms)));
    bytes.extend_from_slice(b" 0000000000000 ????\n");
    for (word, value) in display {
        let before = bytes.len();
        if before > HEAD {
            bytes.push(b' ');
        }
        bytes.extend_from_slice(word.as_bytes());
        bytes.push(b'=');
        encode(value, &mut bytes);
        if bytes.len() >= HEAD + DISPLAY {
            bytes.truncate(before);
            break;
        }
    }
    bytes.push(b'\n');
    let offset = digits::<4>(bytes.len() as u64);
    bytes[OFFSET].copy_from_slice(&offset);
    for slot in slots {
        bytes.extend_from_slice(slot.as_bytes());
    }
    bytes.extend_from_slice(body);
    bytes
}

/// The request id that put a record, and where its body begins; `None` if this is not a record.
pub(super) fn read(bytes: &[u8]) -> Option<(Digest, usize)> {
    let offset = offset(bytes)?;
    let slots = bytes.get(offset..offset + SLOTS)?;
    Some((Digest::from_bytes(&slots[..16])?, offset + SLOTS))
}

/// The state of a pending, and where its body begins; `None` if this is not one.
pub(super) fn read_pending(bytes: &[u8]) -> Option<(&str, usize)> {
    let body = offset(bytes)? + SLOTS;
    let state = std::str::from_utf8(bytes.get(3..12)?).ok()?.trim_end();
    (bytes.len() >= body).then_some((state, body))
}

/// What people may see of a record.
pub(super) struct Head<'a> {
    pub(super) state: &'a str,
    pub(super) created_ms: Option<u64>,
    /// `None` if it did not end by somebody's doing.
    pub(super) taken_ms: Option<u64>,
    pub(super) display: &'a [u8],
    /// `None` if it is nobody's alone.
    pub(super) subject: Option<Digest>,
}

/// Reads what stands before the sealed body, of which nothing need be there; `None` if this is no
/// record.
pub(super) fn read_head(bytes: &[u8]) -> Option<Head<'_>> {
    let (state, body) = read_pending(bytes)?;
    let time = |at: Range<usize>| {
        let time = std::str::from_utf8(bytes.get(at)?).ok()?.parse().ok()?;
        (time > 0).then_some(time)
    };
    let subject = Digest::from_bytes(&bytes[body - 16..body])?;
    Some(Head {
        state,
        created_ms: time(13..26),
        taken_ms: time(41..54),
        display: bytes.get(HEAD..body - SLOTS - 1)?,
        subject: (subject != Digest::NONE).then_some(subject),
    })
}

/// Reads an outcome: one line for people, then the sealed body.
pub(super) fn read_outcome(bytes: &[u8]) -> Option<Outcome> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut words = line.strip_prefix("v1 ")?.split_ascii_whitespace();
    let how = Ending::from_word(words.next()?)?;
    let at_ms = words.next()?.parse().ok()?;
    let by = words.next().unwrap_or_default().to_owned();
    Some(Outcome { how, at_ms, by, body: bytes[end + 1..].to_vec() })
}

/// Where the binary part begins; `None` if the head is not one.
fn offset(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..HEAD)?;
    let version = head.starts_with(b"v1 ") && head[HEAD - 1] == b'\n';
    let offset: usize = std::str::from_utf8(&head[OFFSET]).ok()?.parse().ok()?;
    (version && offset > HEAD).then_some(offset)
}

/// Percent-encodes all but the characters that need no quoting anywhere.
fn encode(value: &str, line: &mut Vec<u8>) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            line.push(byte);
        } else {
            let _ = write!(line, "%{byte:02X}"); // memory does not fail
        }
    }
}

/// The last `N` decimal digits. What `{:013}` does too, in ten times the time.
fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Kind, RecordName};

    fn record<'a>(display: &'a [(&'static str, &'a str)], body: &'a [u8]) -> NewRecord<'a> {
        NewRecord {
            name: RecordName::alone(Kind::Pkce, Digest::NONE),
            request: Digest::from_bytes(&[9; 16]).unwrap(),
            ttl: std::time::Duration::from_secs(600),
            display,
            body,
        }
    }

    #[test]
    fn the_head_is_part_of_the_layout() {
        let bytes = write(
            &record(&[("kind", "mcp"), ("at", "a b\n")], b"BODY"),
            1_763_697_824_123,
            600_000,
        );
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with(
            "v1 live      1763697824123 1763698424123 0000000000000 0081\nkind=mcp at=a%20b%0A\n"
        ), "{text}");
        let (request, body) = read(&bytes).unwrap();
        assert_eq!(request.as_bytes(), &[9; 16]);
        assert_eq!(&bytes[body..], b"BODY");
    }

    #[test]
    fn a_display_line_is_capped_at_a_whole_word() {
        let long = "x".repeat(500);
        let bytes = write(&record(&[("kind", "mcp"), ("long", &long), ("b", "c")], b""), 1, 1);
        assert_eq!(&bytes[60..69], b"kind=mcp\n");
    }

    #[test]
    fn damaged_bytes_are_not_a_record() {
        let whole = write(&record(&[("kind", "mcp")], b"BODY"), 1, 1);
        for end in 0..whole.len() - 4 {
            assert!(read(&whole[..end]).is_none(), "{end}");
        }
        for (at, byte) in [(0, b'x'), (1, b'2'), (55, b'9'), (59, b' '), (58, b'-')] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            assert!(read(&bytes).is_none(), "{at}");
        }
    }
}
