//! The repository's own rules. What `Cargo.toml` and `clippy.toml` cannot say is said here.
//!
//! Each rule is a function from a file to its faults, and each is shown a file that breaks it: a
//! rule that finds nothing anywhere proves nothing.

mod files;
mod habits;
mod keys;
mod layers;
mod rights;
mod rust;
mod scripts;
