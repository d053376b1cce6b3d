//! Temp tokens: a link that may do one thing, for one resource, for a little while.
