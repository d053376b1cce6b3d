//! The files that the rules are about.

use std::{fs, path::Path};

/// A file of the repository; its path starts at the root and has `/` in it everywhere.
#[derive(Debug, Clone)]
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    /// One that is not on the disk, to show that a rule finds it.
    pub fn example(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path));
        let text = text.unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text }
    }

    pub fn fault(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    pub fn is_below(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

/// All files with this extension under a directory, or none if there is no such directory.
pub fn under(dir: &str, extension: &str) -> Vec<File> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(root().join(dir)) else { return found };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = format!("{dir}/{}", name.to_str().unwrap());
        if root().join(&path).is_dir() {
            found.extend(under(&path, extension));
        } else if path.ends_with(&format!(".{extension}")) {
            found.push(File::read(&path));
        }
    }
    found
}

/// The library.
pub fn library() -> Vec<File> {
    let files = under("src", "rs");
    assert!(files.len() > 10, "the library is not where it was");
    files
}

/// All Rust of the repository.
pub fn all_rust() -> Vec<File> {
    ["src", "worker", "tests", "benches", "examples"]
        .into_iter()
        .flat_map(|dir| under(dir, "rs"))
        .collect()
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with all faults, not only the first.
pub fn expect_no_fault(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<_> = faults.into_iter().collect();
    assert!(faults.is_empty(), "{} against the rules:\n{}", faults.len(), faults.join("\n"));
}
