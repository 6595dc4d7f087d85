//! Whether a running server is ready, for container health checks: one question to the port that it listens on.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::tls::{self, TlsFiles};

/// For connecting, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The status line is all that counts.
const MAX_ANSWER: u64 = 1_024;

/// What is asked of whom.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Its certificate, if it speaks TLS.
    pub tls: Option<&'a TlsFiles>,
    /// Its public name, for `Host`.
    pub host: &'a str,
    /// The path of readiness.
    pub path: &'a str,
}

impl Question<'_> {
    /// The status of the answer, or why there is none.
    pub fn ask(&self) -> Result<u16, String> {
        self.send().map_err(|error| error.to_string()).and_then(|answer| status(&answer))
    }

    /// Whether what [`ask`](Self::ask) brought says "ready": only 200 does.
    pub fn verdict(&self, outcome: Result<u16, String>) -> Result<(), String> {
        match outcome {
            Ok(200) => Ok(()),
            Ok(status) => Err(format!("not ready: {} answers {status}", self.path)),
            Err(why) => Err(format!("not ready: {why}")),
        }
    }

    fn send(&self) -> io::Result<String> {
        let stream = TcpStream::connect_timeout(&reachable(self.listen), TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        match self.tls {
            None => self.get(stream),
            Some(files) => self.get(secure(stream, files)?),
        }
    }

    fn get(&self, mut stream: impl Read + Write) -> io::Result<String> {
        let Self { path, host, .. } = self;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        stream.flush()?;
        let mut answer = Vec::new();
        // A peer that closes without a TLS farewell has still answered: what was read counts.
        let read = stream.take(MAX_ANSWER).read_to_end(&mut answer);
        if answer.is_empty() {
            read?;
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// A wildcard is where the server listens, not where anybody can connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn status(answer: &str) -> Result<u16, String> {
    let words = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    words.and_then(|digits| digits.parse().ok()).ok_or_else(|| "the answer is no HTTP".to_owned())
}

fn secure(
    stream: TcpStream,
    files: &TlsFiles,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let trusted = tls::read_certificates(&files.cert).map_err(io::Error::other)?;
    let provider = tls::provider();
    let verifier = Arc::new(ExactlyThis { trusted, provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Trusts the certificate of the settings and no other: the name in it is the public one, and this is loopback.
#[derive(Debug)]
struct ExactlyThis {
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ExactlyThis {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trusted.first().is_some_and(|ours| ours == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(
            "the server shows another certificate than the file of --tls-cert".into(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_becomes_loopback() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:9000"), "127.0.0.1:9000");
        assert_eq!(of("[::]:9000"), "[::1]:9000");
        assert_eq!(of("192.0.2.1:9000"), "192.0.2.1:9000");
    }

    #[test]
    fn only_the_status_counts() {
        assert_eq!(status("HTTP/1.1 200 OK\r\n\r\n"), Ok(200));
        assert_eq!(status("HTTP/1.1 503 Service Unavailable\r\n"), Ok(503));
        assert!(status("SSH-2.0-OpenSSH").is_err());
        assert!(status("").is_err());
    }
}
