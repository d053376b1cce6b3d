//! When a walk over the shards had better end.

use super::{Class, StoreError};

/// How the shards of one walk failed so far.
#[derive(Debug, Default)]
pub(crate) struct Failing {
    in_a_row: u32,
}

impl Failing {
    /// A shard answered.
    pub(crate) fn answered(&mut self) {
        self.in_a_row = 0;
    }

    /// A shard failed. Whether to ask no others: after three in a row Redis is away, and some
    /// failures only an operator can end. A damaged shard says nothing about the others.
    pub(crate) fn ends_with(&mut self, error: &StoreError) -> bool {
        self.in_a_row += u32::from(error.class() != Class::Corrupt);
        self.in_a_row >= 3 || error.class() == Class::Operator
    }
}
