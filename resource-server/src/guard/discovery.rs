//! Finds and fetches an issuer's keys: metadata ([RFC 8414](https://www.rfc-editor.org/rfc/rfc8414), [OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html)), then the set at its `jwks_uri`.
//!
//! The metadata must name the issuer byte for byte, or another issuer's document would bring another issuer's keys.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, HOST};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use shared_types::ids::is_loopback_host;
use shared_types::{Issuer, JwkSet, json};
use url::{Host, Url};

use super::jwks::FetchKeys;
use super::outbound::{HostPort, Outbound, OutboundFault};

/// The longest answer that is read, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// Why keys were not fetched. Says what is wrong with the issuer or the way to it, never about a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFault {
    /// It took longer than 5 s.
    #[error("the answer took too long")]
    Timeout,
    /// The connection failed: name, address, TLS, or cut off in the middle.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// The answer is not 200. A redirect is not followed: it would lead past every check of the address.
    #[error("the answer was {0}")]
    Status(u16),
    /// The answer is longer than [`MAX_BYTES`].
    #[error("the answer is too long")]
    TooLong,
    /// The document is not the JSON that it should be.
    #[error("the document is malformed")]
    Malformed,
    /// "The "issuer" value returned MUST be identical to the authorization server's issuer identifier value […] If these values are not
    /// identical, the data contained in the response MUST NOT be used" (RFC 8414 section 3.3).
    #[error("the metadata is that of another issuer")]
    OtherIssuer,
    /// `jwks_uri` is absent, not https, or names an address that may not be used.
    #[error("the jwks_uri may not be used")]
    JwksUri,
    /// Connections cannot be set up.
    #[error("{0}")]
    Setup(String),
}

impl From<OutboundFault> for FetchFault {
    fn from(fault: OutboundFault) -> Self {
        Self::Setup(fault.to_string())
    }
}

impl From<reqwest::Error> for FetchFault {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        // The innermost cause says most; the outer ones repeat the URL.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Connection(cause.to_string())
    }
}

/// The keys of one issuer, by HTTP.
#[derive(Debug)]
pub struct HttpKeys {
    issuer: Issuer,
    origin: Url,
    address: Option<HostPort>,
    own: Client,
    elsewhere: OnceLock<Client>,
    outbound: Arc<Outbound>,
    /// From the last good metadata. Asked for anew each time; this one is for when the metadata cannot be had but the keys can.
    jwks_uri: Mutex<Option<Url>>,
}

impl HttpKeys {
    /// Nothing is fetched yet. `address`: where the issuer's origin is reached, if not where its URL says.
    pub fn new(
        issuer: Issuer,
        address: Option<HostPort>,
        outbound: Arc<Outbound>,
    ) -> Result<Self, OutboundFault> {
        let origin = Url::parse(issuer.as_str()).map_err(|_| OutboundFault::AddressOfIpIssuer)?;
        if address.is_some() && issuer.is_https() && !matches!(origin.host(), Some(Host::Domain(_)))
        {
            return Err(OutboundFault::AddressOfIpIssuer);
        }
        let own = outbound.trusted_client(issuer.is_https(), address.as_ref())?;
        Ok(Self {
            issuer,
            origin,
            address,
            own,
            elsewhere: OnceLock::new(),
            outbound,
            jwks_uri: Mutex::new(None),
        })
    }

    async fn fetch_once(&self) -> Result<JwkSet, FetchFault> {
        let uri = match self.discover().await {
            Ok(uri) => uri,
            // These documents say that something is wrong; what an earlier one said must not hide it.
            Err(fault @ (FetchFault::OtherIssuer | FetchFault::JwksUri)) => return Err(fault),
            Err(fault) => self.known().clone().ok_or(fault)?,
        };
        *self.known() = Some(uri.clone());
        JwkSet::parse(&self.get(&uri).await?).map_err(|_| FetchFault::Malformed)
    }

    fn known(&self) -> MutexGuard<'_, Option<Url>> {
        self.jwks_uri.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the well-known places one after the other; only "not here" leads on.
    async fn discover(&self) -> Result<Url, FetchFault> {
        let mut last = FetchFault::Malformed;
        for url in well_known(&self.issuer) {
            let url = Url::parse(&url).map_err(|_| FetchFault::Malformed)?;
            match self.get(&url).await {
                Ok(document) => return self.jwks_uri(&document),
                Err(fault @ FetchFault::Status(400..=499)) => last = fault,
                Err(fault) => return Err(fault),
            }
        }
        Err(last)
    }

    fn jwks_uri(&self, document: &[u8]) -> Result<Url, FetchFault> {
        let members = json::parse_object(document).map_err(|_| FetchFault::Malformed)?;
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        if text("issuer") != Some(self.issuer.as_str()) {
            return Err(FetchFault::OtherIssuer);
        }
        let uri = Url::parse(text("jwks_uri").ok_or(FetchFault::JwksUri)?)
            .map_err(|_| FetchFault::JwksUri)?;
        // "This URL MUST use the "https" scheme" (RFC 8414 section 2); http is for an issuer on this very machine.
        let local = uri.scheme() == "http"
            && !self.issuer.is_https()
            && uri.host_str().is_some_and(is_loopback_host);
        let plain = uri.username().is_empty() && uri.password().is_none();
        if !(uri.scheme() == "https" || local) || !plain {
            return Err(FetchFault::JwksUri);
        }
        if uri.origin() != self.origin.origin() && !self.outbound.may_name(&uri) {
            return Err(FetchFault::JwksUri);
        }
        Ok(uri)
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchFault> {
        let request = if url.origin() == self.origin.origin() {
            let request = self.own.get(self.readdressed(url)?);
            match &self.address {
                Some(_) => request.header(HOST, authority(url)),
                None => request,
            }
        } else {
            self.guarded()?.get(url.clone())
        };
        let mut response = request.header(ACCEPT, "application/json").send().await?;
        if response.status() != StatusCode::OK {
            return Err(FetchFault::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(FetchFault::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The URL to connect to. Over http host and port are replaced and `Host` stays. Over https only the port is: the name stays in the
    /// URL, so that SNI and the certificate are the issuer's, and the client resolves it as the other host.
    fn readdressed(&self, url: &Url) -> Result<Url, FetchFault> {
        let mut url = url.clone();
        if let Some(address) = &self.address {
            let setup = || FetchFault::Setup("the issuer's address cannot be used".into());
            url.set_port(Some(address.port)).map_err(|()| setup())?;
            if url.scheme() == "http" {
                let host = if address.host.contains(':') {
                    format!("[{}]", address.host)
                } else {
                    address.host.clone()
                };
                url.set_host(Some(&host)).map_err(|_| setup())?;
            }
        }
        Ok(url)
    }

    fn guarded(&self) -> Result<&Client, FetchFault> {
        if let Some(client) = self.elsewhere.get() {
            return Ok(client);
        }
        let client = self.outbound.guarded_client()?;
        Ok(self.elsewhere.get_or_init(|| client))
    }
}

impl FetchKeys for HttpKeys {
    fn fetch(&self) -> BoxFuture<'_, Result<JwkSet, FetchFault>> {
        Box::pin(self.fetch_once())
    }
}

/// Host and, if it is not the scheme's own, port.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Where metadata may stand: the well-known part goes between host and path (RFC 8414 section 3.1); OpenID Connect appends it.
fn well_known(issuer: &Issuer) -> Vec<String> {
    const OAUTH: &str = "/.well-known/oauth-authorization-server";
    const OPENID: &str = "/.well-known/openid-configuration";
    let (origin, path) = (issuer.origin(), issuer.path());
    let mut urls = vec![format!("{origin}{OAUTH}{path}"), issuer.join(OPENID)];
    if !path.is_empty() {
        urls.push(format!("{origin}{OPENID}{path}"));
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::super::outbound::OutboundOptions;
    use super::*;

    fn keys(issuer: &str, address: Option<&str>) -> Result<HttpKeys, OutboundFault> {
        let address = address.map(|address| address.parse().unwrap());
        let outbound = Arc::new(Outbound::new(OutboundOptions::default()));
        HttpKeys::new(Issuer::parse(issuer).unwrap(), address, outbound)
    }

    #[test]
    fn the_well_known_part_goes_before_the_path() {
        assert_eq!(
            well_known(&Issuer::parse("https://id.example/t1").unwrap()),
            [
                "https://id.example/.well-known/oauth-authorization-server/t1",
                "https://id.example/t1/.well-known/openid-configuration",
                "https://id.example/.well-known/openid-configuration/t1",
            ]
        );
        assert_eq!(well_known(&Issuer::parse("https://id.example").unwrap()).len(), 2);
    }

    #[test]
    fn metadata_of_another_issuer_is_not_used() {
        let keys = keys("http://localhost:9000", None).unwrap();
        let document =
            |issuer: &str, uri: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{uri}"}}"#);
        let uri = |issuer: &str, uri: &str| keys.jwks_uri(document(issuer, uri).as_bytes());
        let own = "http://localhost:9000/jwks.json";
        assert!(uri("http://localhost:9000", own).is_ok());
        assert_eq!(uri("http://localhost:9000/", own), Err(FetchFault::OtherIssuer));
        assert_eq!(uri("https://id.example", own), Err(FetchFault::OtherIssuer));
        assert_eq!(keys.jwks_uri(b"[]"), Err(FetchFault::Malformed));
        assert_eq!(
            keys.jwks_uri(br#"{"issuer":"http://localhost:9000","issuer":"x"}"#),
            Err(FetchFault::Malformed)
        );
    }

    #[test]
    fn a_jwks_uri_is_https_and_public_unless_it_is_the_issuers_own() {
        let keys = keys("http://localhost:9000", None).unwrap();
        let uri = |uri: &str| {
            keys.jwks_uri(
                format!(r#"{{"issuer":"http://localhost:9000","jwks_uri":"{uri}"}}"#).as_bytes(),
            )
        };
        assert!(uri("https://keys.example/jwks").is_ok());
        for bad in [
            "http://keys.example/jwks",
            "file:///etc/passwd",
            "https://127.0.0.1/jwks",
            "http://127.0.0.1:9000/jwks",
            "https://u:p@keys.example/",
            "https://10.0.0.1/",
            "jwks.json",
            "",
        ] {
            assert_eq!(uri(bad), Err(FetchFault::JwksUri), "{bad}");
        }
    }

    #[test]
    fn another_address_changes_where_we_connect_and_nothing_else() {
        let url = Url::parse("http://localhost:9000/jwks.json").unwrap();
        let http = keys("http://localhost:9000", Some("auth:8080")).unwrap();
        assert_eq!(http.readdressed(&url).unwrap().as_str(), "http://auth:8080/jwks.json");
        assert_eq!(authority(&url), "localhost:9000");
        let url = Url::parse("https://id.example/jwks.json").unwrap();
        let https = keys("https://id.example", Some("auth:8443")).unwrap();
        assert_eq!(https.readdressed(&url).unwrap().as_str(), "https://id.example:8443/jwks.json");
        assert_eq!(authority(&url), "id.example");
        assert!(keys("https://192.0.2.1", Some("auth:8443")).is_err());
    }
}
