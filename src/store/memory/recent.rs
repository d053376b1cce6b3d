use crate::digest::Digest;

/// The last four receipts, so that a late retry does not find its own overwritten.
#[derive(Clone, Copy, Default)]
pub(super) struct Recent([Option<Digest>; 4]);

impl Recent {
    pub(super) fn has(&self, request: Digest) -> bool {
        self.0.contains(&Some(request))
    }

    pub(super) fn with(self, request: Digest) -> Self {
        let Self([one, two, three, _]) = self;
        Self([Some(request), one, two, three])
    }
}
