//! What scripts answer: words, decoded once.

use redis::{FromRedisValue, Value, from_redis_value_ref};

use crate::store::StoreError;

/// A script's reply: a word, the echo of the request, and what belongs to the word.
pub(super) struct Reply {
    verb: &'static str,
    word: Vec<u8>,
    rest: Vec<Value>,
}

impl Reply {
    /// Takes a reply apart whose echo was checked.
    pub(super) fn read(verb: &'static str, value: Value) -> Result<Self, StoreError> {
        let Value::Array(parts) = value else { return Err(unreadable(verb)) };
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next()) {
            (Some(Value::BulkString(word)), Some(_)) => {
                Ok(Self { verb, word, rest: parts.collect() })
            }
            _ => Err(unreadable(verb)),
        }
    }

    pub(super) fn word(&self) -> &str {
        std::str::from_utf8(&self.word).unwrap_or_default()
    }

    /// The value behind the word at this position, from 0.
    pub(super) fn part<T: FromRedisValue>(&self, at: usize) -> Result<T, StoreError> {
        let value = self.rest.get(at).ok_or_else(|| unreadable(self.verb))?;
        from_redis_value_ref(value).map_err(|_| unreadable(self.verb))
    }

    /// The bytes behind the word at this position, moved out.
    pub(super) fn take_bytes(&mut self, at: usize) -> Result<Vec<u8>, StoreError> {
        match self.rest.get_mut(at).map(|value| std::mem::replace(value, Value::Nil)) {
            Some(Value::BulkString(bytes)) => Ok(bytes),
            _ => Err(unreadable(self.verb)),
        }
    }

    pub(super) fn parts(&self) -> &[Value] {
        &self.rest
    }

    pub(super) fn unknown_word(&self) -> StoreError {
        unreadable(self.verb)
    }
}

/// Whether a reply answers *this* request: a connection that mixed two replies up would hand
/// somebody another's record.
pub(super) fn echoes(reply: &Value, request: &[u8]) -> bool {
    let Value::Array(parts) = reply else { return false };
    matches!(parts.get(1), Some(Value::BulkString(echo)) if echo == request)
}

/// A reply that is none of this verb's: the verb may have run.
pub(super) fn unreadable(verb: &'static str) -> StoreError {
    StoreError::Unknown {
        verb,
        waited: std::time::Duration::ZERO,
        cause: "the reply is not one of this verb's".to_owned(),
    }
}
