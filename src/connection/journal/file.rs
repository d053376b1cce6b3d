//! The form of a journal's file: a mark, then name, length and sealed body of each entry.
//!
//! A file is whole or it is not there, so what does not read was damaged later.

use super::JournalEntry;
use crate::digest::Digest;

const MARK: &[u8] = b"vestibule journal v1\n";
const NAME: usize = 16;
/// No sealed answer is that long: a damaged length must not ask for the memory.
const LONGEST: usize = 1 << 20;

pub(super) fn encode<'a>(entries: impl Iterator<Item = &'a JournalEntry>) -> Vec<u8> {
    let mut file = MARK.to_vec();
    for entry in entries {
        // An answer of more than 64 KiB does not seal.
        let length = u32::try_from(entry.sealed.len()).unwrap_or(u32::MAX);
        file.extend_from_slice(entry.name.as_bytes());
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&entry.sealed);
    }
    file
}

/// The entries up to the first that does not read, and whether there was one.
pub(super) fn decode(file: &[u8]) -> (Vec<JournalEntry>, bool) {
    let mut entries = Vec::new();
    let Some(mut rest) = file.strip_prefix(MARK) else { return (entries, true) };
    while !rest.is_empty() {
        let Some((entry, after)) = first(rest) else { return (entries, true) };
        entries.push(entry);
        rest = after;
    }
    (entries, false)
}

fn first(rest: &[u8]) -> Option<(JournalEntry, &[u8])> {
    let (name, rest) = rest.split_at_checked(NAME)?;
    let (length, rest) = rest.split_at_checked(size_of::<u32>())?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let (sealed, rest) = rest.split_at_checked(length).filter(|_| length <= LONGEST)?;
    Some((JournalEntry { name: Digest::from_bytes(name)?, sealed: sealed.to_vec() }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<JournalEntry> {
        (0..3_u8)
            .map(|n| JournalEntry {
                name: Digest::from_bytes(&[n; NAME]).unwrap(),
                sealed: vec![n; usize::from(n) * 100],
            })
            .collect()
    }

    #[test]
    fn a_file_is_read_back() {
        assert_eq!(decode(&encode(entries().iter())), (entries(), false));
        assert_eq!(decode(&encode([].iter())), (Vec::new(), false));
    }

    #[test]
    fn what_was_damaged_is_told_and_the_rest_is_read() {
        let whole = encode(entries().iter());
        for cut in 0..whole.len() {
            let (read, damaged) = decode(&whole[..cut]);
            assert_eq!(read, entries()[..read.len()], "cut at {cut}");
            let between = encode(entries()[..read.len()].iter()).len() == cut;
            assert_eq!(damaged, !between, "cut at {cut}");
        }
        let mut longer = whole.clone();
        longer[MARK.len() + NAME..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&longer), (Vec::new(), true));
        assert_eq!(decode(b""), (Vec::new(), true));
    }
}
