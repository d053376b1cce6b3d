//! The name of a replica that was given none.

/// `worker-<host>-<4 hex>`: no two are the same, also where every container's only process is number
/// one; and people see where it runs.
pub(crate) fn fresh() -> String {
    let mut tag = [0; 2];
    // Without randomness it is as unique as its host's name.
    let _ = getrandom::fill(&mut tag);
    named(&gethostname::gethostname().to_string_lossy(), u16::from_be_bytes(tag))
}

fn named(host: &str, tag: u16) -> String {
    let mut host: String = host
        .chars()
        .map(|char| char.to_ascii_lowercase())
        .filter(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || *char == '-')
        .collect();
    // 32 characters in all. A pod's name differs at its end.
    host.drain(..host.len().saturating_sub(20));
    format!("worker-{}-{tag:04x}", host.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_and_says_where() {
        assert_eq!(named("Web_1.example.org", 0xbeef), "worker-web1exampleorg-beef");
        let pod = named("vestibule-sidecar-with-a-long-name-7d9c5b8f6-x2k4q", 7);
        assert_eq!(pod, "worker-name-7d9c5b8f6-x2k4q-0007");
        assert_eq!(pod.len(), 32);
        assert_eq!(named("", 1), "worker--0001");
        assert_ne!(fresh(), fresh());
    }
}
