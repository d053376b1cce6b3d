//! What people are shown of a text that anybody may have written to Redis.

use std::fmt::Write;

/// The longest text that is shown of one field, in characters.
const LONGEST: usize = 256;

/// One line of the text, with nothing in it that moves a cursor, turns text around, hides it, or
/// ends the line: such characters and what is no UTF-8 are written out, as `\x1b` and `\u{202e}`.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut shown = String::new();
    let mut room = LONGEST;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if room == 0 {
                shown.push('…');
                return shown;
            }
            room -= 1;
            // Memory does not fail.
            let _ = match c {
                '\\' => shown.write_str("\\\\"),
                c if c.is_ascii_control() => write!(shown, "\\x{:02x}", u32::from(c)),
                c if is_unsafe(c) => write!(shown, "\\u{{{:x}}}", u32::from(c)),
                c => shown.write_char(c),
            };
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// Controls, separators of lines, marks that reorder or hide, tags, and variation selectors.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for (hostile, shown) in [
            (&b"plain=a%20b"[..], "plain=a%20b"),
            (b"\x1b[2J\r\nforged", "\\x1b[2J\\x0d\\x0aforged"),
            ("\u{202e}gnp.exe\u{9b}31m".as_bytes(), "\\u{202e}gnp.exe\\u{9b}31m"),
            ("a\u{200b}b\u{2028}c".as_bytes(), "a\\u{200b}b\\u{2028}c"),
            (b"\xff\x00\\", "\\xff\\x00\\\\"),
            ("é 日本".as_bytes(), "é 日本"),
        ] {
            assert_eq!(printable(hostile), shown);
        }
        let long = printable("é".repeat(1000).as_bytes());
        assert_eq!(long.chars().count(), LONGEST + 1);
    }
}
