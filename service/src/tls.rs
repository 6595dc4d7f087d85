//! Native TLS by rustls: certificate and key from PEM files, exchanged while the server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Certificate and key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a pair of files cannot be served. It names files, never their content.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// The chain cannot be read.
    #[error("tls_cert {0}: {1}")]
    Certificate(String, String),
    /// The key cannot be read.
    #[error("tls_key {0}: {1}")]
    Key(String, String),
    /// The two do not belong together, or the algorithm is unknown.
    #[error("tls_cert and tls_key: {0}")]
    Pair(String),
}

/// The pair that new connections get.
#[derive(Debug)]
pub struct ReloadableCert {
    files: TlsFiles,
    log_target: &'static str,
    current: Arc<Current>,
}

/// What rustls asks at each handshake.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl ReloadableCert {
    /// Reads both files and checks that they match. `log_target` is what a reload is logged as: filters name the server, not this crate.
    pub fn load(files: TlsFiles, log_target: &'static str) -> Result<Self, TlsFault> {
        let pair = read_pair(&files)?;
        Ok(Self { files, log_target, current: Arc::new(Current(RwLock::new(Arc::new(pair)))) })
    }

    /// Reads them again. Whatever is wrong is logged, and connections go on with the pair from before.
    pub fn reload(&self) {
        match read_pair(&self.files) {
            Ok(pair) => {
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                log::info!(target: self.log_target, "certificate and key reloaded");
            }
            Err(fault) => {
                log::error!(target: self.log_target, fault:%; "certificate and key not reloaded, the old ones stay");
            }
        }
    }

    /// The configuration of the listener: TLS 1.2 and 1.3, no client certificates.
    pub fn server_config(&self) -> Result<ServerConfig, TlsFault> {
        // The provider is named: the process default would be whatever crate installs one first.
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFault::Pair(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        Ok(config)
    }
}

/// The one crypto provider of this program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The certificates of a PEM file.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let fault = |why: String| TlsFault::Certificate(path.display().to_string(), why);
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| fault(error.to_string()))?;
    if chain.is_empty() { Err(fault("holds no certificate".into())) } else { Ok(chain) }
}

fn read_pair(files: &TlsFiles) -> Result<CertifiedKey, TlsFault> {
    let chain = read_certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsFault::Key(files.key.display().to_string(), error.to_string()))?;
    // Compares the public keys of both.
    CertifiedKey::from_der(chain, key, &provider())
        .map_err(|error| TlsFault::Pair(error.to_string()))
}
