//! A server that speaks TLS only, with a certificate of a CA of its own.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::server::TestServer;

#[derive(Debug)]
pub struct TlsServer {
    /// Its [`TestServer::url`] is without the TLS.
    pub server: TestServer,
    ca_pem: String,
    _certificates: TempDir,
}

impl TlsServer {
    pub async fn start() -> Self {
        install_provider();
        let ca = new_ca();
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)
            .and_then(|params| params.signed_by(&key, &ca))
            .expect("a certificate");

        let dir = tempfile::tempdir().expect("a directory");
        let mut builder = TestServer::builder().cluster(false).tls();
        for (setting, file, pem) in [
            ("--tls-cert-file", "server.crt", certificate.pem()),
            ("--tls-key-file", "server.key", key.serialize_pem()),
            ("--tls-ca-cert-file", "ca.crt", ca.pem()),
        ] {
            let path = dir.path().join(file);
            fs::write(&path, pem).expect("a file");
            builder = builder.arg(setting, &path.display().to_string());
        }
        let server = builder.arg("--tls-auth-clients", "no").start().await;
        Self { server, ca_pem: ca.pem(), _certificates: dir }
    }

    pub fn url(&self) -> String {
        self.server.url().replacen("redis://", "rediss://", 1)
    }

    /// The certificate that a client must trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
}

/// The certificate of somebody else.
pub fn unrelated_ca_pem() -> String {
    new_ca().pem()
}

/// As a host process does: rustls panics without one.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default(); // or it is installed
}

fn new_ca() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a certificate")
}
