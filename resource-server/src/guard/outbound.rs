//! Connections that we open: to issuers, and to wherever their metadata sends us.
//!
//! No redirects, no proxy, no credentials, 5 s in all, 256 KiB at most. An address that an operator configured is trusted; one that a
//! document names is not: it is resolved, every private or loopback address is dropped, and the connection goes to exactly the
//! addresses that were checked, so that a name cannot point elsewhere a moment later.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

/// One exchange, from the name's resolution to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How connections are made.
#[derive(Clone, Debug, Default)]
pub struct OutboundOptions {
    /// PEM file with certificate authorities that are trusted besides the system's.
    pub extra_ca_file: Option<PathBuf>,
    /// Host names whose private addresses may be used although a document named them.
    pub allow_private_hosts: Vec<String>,
}

/// Why a connection cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum OutboundFault {
    /// The CA file cannot be read.
    #[error("cannot read the CA file {0}")]
    CaFile(PathBuf),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be built.
    #[error("HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The issuer's URL names an IP address, so another address for it cannot be told to TLS.
    #[error("--issuer-address needs a host name in an https issuer, not an IP address")]
    AddressOfIpIssuer,
}

/// `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::str::FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = "must be HOST:PORT";
        let (host, port) = text.rsplit_once(':').ok_or(fault)?;
        let port: u16 = port.parse().map_err(|_| fault)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() || port == 0 || (bare.is_none() && host.contains([':', '/', '@'])) {
            return Err(fault);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What all outbound connections share. The system's certificate authorities are read only once something speaks https.
#[derive(Debug)]
pub struct Outbound {
    options: OutboundOptions,
    tls: OnceLock<ClientConfig>,
}

impl Outbound {
    /// Nothing is opened yet.
    pub fn new(options: OutboundOptions) -> Self {
        Self { options, tls: OnceLock::new() }
    }

    /// A client for addresses that the operator named. With `address`, every host name leads there; it is resolved anew for each
    /// connection, since containers move.
    pub fn trusted_client(
        &self,
        https: bool,
        address: Option<&HostPort>,
    ) -> Result<Client, OutboundFault> {
        let builder = builder(if https { self.tls()? } else { plain_http()? });
        let builder = match address {
            Some(address) => builder.dns_resolver(Elsewhere(address.host.clone())),
            None => builder,
        };
        Ok(builder.build()?)
    }

    /// A client for an address that a document named: https, and nothing private unless it is allowed by name.
    pub fn guarded_client(&self) -> Result<Client, OutboundFault> {
        let allowed: Arc<[String]> = self.options.allow_private_hosts.clone().into();
        Ok(builder(self.tls()?).dns_resolver(PublicOnly { allowed }).build()?)
    }

    /// Whether an address that stands in a URL itself may be used; names are checked when they are resolved.
    pub fn may_name(&self, url: &Url) -> bool {
        let allowed = url
            .host_str()
            .is_some_and(|host| self.options.allow_private_hosts.iter().any(|name| name == host));
        allowed
            || match url.host() {
                Some(Host::Ipv4(ip)) => is_public(IpAddr::V4(ip)),
                Some(Host::Ipv6(ip)) => is_public(IpAddr::V6(ip)),
                Some(Host::Domain(_)) => true,
                None => false,
            }
    }

    fn tls(&self) -> Result<ClientConfig, OutboundFault> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for fault in &native.errors {
            log::warn!(fault:%; "a certificate authority of the system cannot be read");
        }
        roots.add_parsable_certificates(native.certs);
        if let Some(path) = &self.options.extra_ca_file {
            for certificate in read_certificates(path)? {
                roots.add(certificate)?;
            }
        }
        let config = client_config(roots)?;
        Ok(self.tls.get_or_init(|| config).clone())
    }
}

/// The certificates of a PEM file, at least one.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OutboundFault> {
    let fault = || OutboundFault::CaFile(path.to_owned());
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|_| fault())?;
    if certificates.is_empty() { Err(fault()) } else { Ok(certificates) }
}

/// Without any authority: no https connection can be made with it.
fn plain_http() -> Result<ClientConfig, OutboundFault> {
    client_config(RootCertStore::empty())
}

/// Never the process's default provider: who sets that one, and when, is not ours to know.
fn client_config(roots: RootCertStore) -> Result<ClientConfig, OutboundFault> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn builder(tls: ClientConfig) -> reqwest::ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .timeout(TIMEOUT)
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(30))
}

/// Resolves every name as one other.
#[derive(Debug)]
struct Elsewhere(String);

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Resolves names and drops what is not public. The client connects to what is left, without asking again.
#[derive(Debug)]
struct PublicOnly {
    allowed: Arc<[String]>,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let any = self.allowed.contains(&host);
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let addresses: Vec<SocketAddr> =
                found.filter(|address| any || is_public(address.ip())).collect();
            if addresses.is_empty() {
                return Err("the name has only private addresses".into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public internet: neither this machine, nor its network, nor a special range.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// The special-purpose registry of IPv4 ([RFC 6890](https://www.rfc-editor.org/rfc/rfc6890)).
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b)))
}

/// Only `2000::/3` is handed out; inside it, what carries an IPv4 address is judged by that one.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, ..] = ip.segments();
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match a {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056).
        0x0064 if b == 0xff9b => {
            let [.., high, low] = ip.segments();
            c == 0 && inner(high, low)
        }
        0x2002 => inner(b, c),
        // Teredo and other special blocks (2001::/23), documentation (2001:db8::/32, 3fff::/20).
        0x2001 if b < 0x0200 || b == 0x0db8 => false,
        0x3fff if b < 0x1000 => false,
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "::7f00:1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn a_url_with_a_private_address_needs_leave() {
        let may = |options: &OutboundOptions, url: &str| {
            Outbound::new(options.clone()).may_name(&Url::parse(url).unwrap())
        };
        let closed = OutboundOptions::default();
        for url in [
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://0x7f.1/",
            "https://169.254.169.254/latest",
        ] {
            assert!(!may(&closed, url), "{url}");
        }
        assert!(may(&closed, "https://keys.example/"), "names are judged by what they resolve to");
        let open = OutboundOptions { allow_private_hosts: vec!["127.0.0.1".into()], ..closed };
        assert!(may(&open, "https://127.0.0.1/"));
    }

    #[tokio::test]
    async fn a_name_with_only_private_addresses_does_not_resolve() {
        let name = || "localhost".parse::<Name>().map_err(|_| ()).unwrap();
        assert!(PublicOnly { allowed: Arc::new([]) }.resolve(name()).await.is_err());
        assert!(
            PublicOnly { allowed: Arc::new(["localhost".into()]) }.resolve(name()).await.is_ok()
        );
    }

    #[test]
    fn host_and_port_are_both_needed() {
        let parse = |text: &str| text.parse::<HostPort>().map(|address| address.to_string());
        assert_eq!(parse("auth:9000").unwrap(), "auth:9000");
        assert_eq!(parse("[::1]:9000").unwrap(), "[::1]:9000");
        for bad in
            ["auth", "auth:", ":9000", "auth:0", "http://auth:9000", "::1:9000", "auth:70000"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
