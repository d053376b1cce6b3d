//! Where a secret comes from, that may be a file's or a variable's.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::variable;

/// A secret, or where it is.
pub(super) enum Secret {
    /// In this file.
    File(PathBuf),
    /// The text of a variable.
    Text(Zeroizing<String>),
}

impl Secret {
    /// Flags come first, then the environment, then the file: `flag` is the flag's path or that of its
    /// own variable, `name` the variable with the text, and `in_file` the configuration file's path.
    pub(super) fn first(
        flag: Option<&PathBuf>,
        name: &str,
        in_file: Option<&PathBuf>,
    ) -> Option<Self> {
        let file = |path: &PathBuf| Self::File(path.clone());
        let text = || variable(name).map(|text| Self::Text(Zeroizing::new(text)));
        flag.map(file).or_else(text).or_else(|| in_file.map(file))
    }
}
