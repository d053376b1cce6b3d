//! How a value becomes bytes: MessagePack with named fields, a version byte, and limits.

use rmp_serde::decode::Error;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What this version writes.
const VERSION: u8 = 1;
/// The most that a value may take, encoded.
const CAP: usize = 64 * 1024;
/// The default of 1024 lets a small message exhaust the stack.
const DEPTH: usize = 16;

/// Why a value cannot be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Over the cap.
    #[error("the value takes {bytes} bytes encoded; at most {CAP} are accepted")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Another version's.
    #[error("the value was encoded by version {0} of the format; this one reads {VERSION}")]
    Version(u8),
    /// Not the shape that was asked for: the type changed since, or it never was one.
    #[error("the value does not have the expected shape: {0}")]
    Shape(&'static str),
}

/// Encodes a value that is a map at its top: a struct, say.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    // What most values need: growing would leave a copy behind that nobody wipes.
    let mut bytes = Vec::with_capacity(512);
    bytes.push(VERSION);
    rmp_serde::encode::write_named(&mut bytes, value)
        .map_err(|_| CodecError::Shape("it cannot be encoded"))?;
    if bytes.len() > CAP {
        return Err(CodecError::TooLarge { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// Decodes what [`encode`] made, and nothing else.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > CAP {
        return Err(CodecError::TooLarge { bytes: bytes.len() });
    }
    let (&version, body) = bytes.split_first().ok_or(CodecError::Shape("it is empty"))?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    // A struct would also be read from an array, by position: a field added in the middle would
    // then silently become another.
    if !matches!(body.first(), Some(0x80..=0x8f | 0xde | 0xdf)) {
        return Err(CodecError::Shape("it is not a map"));
    }
    // From the slice itself: a reader copies every text once more, into memory that nobody wipes.
    let mut decoder = rmp_serde::Deserializer::from_read_ref(body);
    decoder.set_max_depth(DEPTH);
    let value = T::deserialize(&mut decoder)
        .map_err(|_| CodecError::Shape("a field is missing, or of another type"))?;
    // It does not tell its position: at the end not even the first byte of another value is there.
    match <()>::deserialize(&mut decoder) {
        Err(Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(CodecError::Shape("bytes are left over")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Thing {
        name: String,
        nested: Option<Box<Thing>>,
    }

    fn thing(depth: usize) -> Thing {
        let nested = (depth > 0).then(|| Box::new(thing(depth - 1)));
        Thing { name: "n".to_owned(), nested }
    }

    #[test]
    fn goes_both_ways() {
        assert_eq!(decode::<Thing>(&encode(&thing(3)).unwrap()), Ok(thing(3)));
    }

    #[test]
    fn refuses_what_encode_would_not_make() {
        let good = encode(&thing(0)).unwrap();
        let positional = [&[VERSION][..], &rmp_serde::to_vec(&thing(0)).unwrap()].concat();
        let deep = encode(&thing(40)).unwrap();
        let newer = [&[9][..], &good[1..]].concat();
        let huge = vec![VERSION; CAP + 1];
        for bad in [&[][..], &[VERSION], &good[..good.len() - 1], &positional, &deep, &newer, &huge]
        {
            assert!(decode::<Thing>(bad).is_err());
        }
        for byte in 0..=u8::MAX {
            for trailing in [&[byte][..], &[byte, byte], &[byte; 300]] {
                let long = [&good, trailing].concat();
                let left = Err(CodecError::Shape("bytes are left over"));
                assert_eq!(decode::<Thing>(&long), left, "{byte:#x}");
            }
        }
        let big = Thing { name: "x".repeat(CAP), nested: None };
        assert!(matches!(encode(&big), Err(CodecError::TooLarge { .. })));
    }
}
