//! Plain HTTP for cases: no redirects, no proxy, no cookies, and answers that can be asked questions.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

/// An HTTP client that does what it is told and nothing else.
#[derive(Clone, Debug)]
pub struct Http(reqwest::Client);

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Http {
    /// A client with connections of its own.
    pub fn new() -> Self {
        Self::trusting(&[])
    }

    /// A client that trusts these DER certificates, and no others, on https.
    pub fn trusting(certificates: &[Vec<u8>]) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        for der in certificates {
            roots.add(der.clone().into()).unwrap();
        }
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            // No answer of a test server takes this long; a hanging one should fail its case, not the run.
            .timeout(Duration::from_secs(60))
            .tls_backend_preconfigured(tls)
            .build()
            .unwrap();
        Self(client)
    }

    /// A request to be dressed and then [`send`]-ed.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.0.request(method, url)
    }

    /// The client beneath, for libraries that bring their own verbs.
    pub fn into_inner(self) -> reqwest::Client {
        self.0
    }

    /// GET.
    pub async fn get(&self, url: &str) -> Answer {
        send(self.request(Method::GET, url)).await
    }

    /// POST of a form.
    pub async fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> Answer {
        send(self.request(Method::POST, url).form(fields)).await
    }
}

/// Sends the request and reads the whole answer.
pub async fn send(request: RequestBuilder) -> Answer {
    try_send(request).await.expect("an answer")
}

/// Like [`send`], for a server that may hang up.
pub async fn try_send(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    Ok(Answer {
        status: response.status().as_u16(),
        url: response.url().to_string(),
        headers: response.headers().clone(),
        body: response.bytes().await?.to_vec(),
    })
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The URL that gave it.
    pub url: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| {
            panic!("{} answered {} with {}", self.url, self.status, self.text())
        })
    }

    /// A header, or the empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("an ASCII header"))
    }

    /// A string member of the JSON body, or the empty text.
    pub fn member(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    /// The `error` of an OAuth error body, or the empty text when there is none.
    pub fn error(&self) -> String {
        serde_json::from_slice::<Value>(&self.body)
            .ok()
            .and_then(|body| Some(body.get("error")?.as_str()?.to_owned()))
            .unwrap_or_default()
    }

    /// The one challenge in `WWW-Authenticate`.
    pub fn challenge(&self) -> Challenge {
        let all: Vec<_> = self.headers.get_all("WWW-Authenticate").iter().collect();
        assert_eq!(all.len(), 1, "one challenge: {all:?}");
        Challenge::parse(self.header("WWW-Authenticate"))
    }

    /// Demands that it puts the caller off: 503, and after how many seconds to ask again, a minute at most (RFC 9110 section 10.2.3).
    #[track_caller]
    pub fn is_put_off(&self) {
        assert_eq!(self.status, 503, "{} answered: {}", self.url, self.text());
        let seconds = self.header("Retry-After").parse::<u32>();
        assert!(seconds.is_ok_and(|seconds| (1..=60).contains(&seconds)), "{:?}", self.headers);
    }

    /// The same of an OAuth endpoint, whose body says it too (RFC 6749 section 4.1.2.1 names the code).
    #[track_caller]
    pub fn is_temporarily_unavailable(&self) {
        self.is_put_off();
        assert_eq!(self.error(), "temporarily_unavailable", "{}", self.url);
    }

    /// Passes the answer on if it has that status; else stops the case with what came instead.
    #[expect(clippy::return_self_not_must_use, reason = "cases often only demand the status")]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{} answered: {} {:?}",
            self.url,
            self.text(),
            self.headers
        );
        self
    }
}

/// A challenge of `WWW-Authenticate` (RFC 9110 section 11.6.1), taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// `Bearer`, `Basic`, `DPoP`.
    pub scheme: String,
    params: BTreeMap<String, String>,
}

impl Challenge {
    /// A parameter, or the empty text.
    pub fn get(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// The names of its parameters.
    pub fn names(&self) -> Vec<&str> {
        self.params.keys().map(String::as_str).collect()
    }

    /// Reads `scheme name="value", ..` and stops the case at anything else.
    fn parse(text: &str) -> Self {
        let (scheme, mut rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut params = BTreeMap::new();
        while !rest.is_empty() {
            let (name, tail) = rest.split_once("=\"").expect("name=\"value\"");
            let mut value = String::new();
            let mut chars = tail.char_indices();
            let end = loop {
                match chars.next().expect("a closing quote") {
                    (_, '\\') => value.push(chars.next().expect("an escaped character").1),
                    (at, '"') => break at,
                    (_, other) => value.push(other),
                }
            };
            let doubled = params.insert(name.to_owned(), value);
            assert!(doubled.is_none(), "{name} stands twice");
            rest = tail[end + 1..].trim_start_matches([',', ' ']);
        }
        Self { scheme: scheme.to_owned(), params }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_taken_apart() {
        let challenge = Challenge::parse(r#"Bearer error="a \"b\"", resource_metadata="http://x""#);
        assert_eq!(challenge.scheme, "Bearer");
        assert_eq!(challenge.get("error"), r#"a "b""#);
        assert_eq!(challenge.names(), ["error", "resource_metadata"]);
        assert_eq!(Challenge::parse("Bearer").names(), Vec::<&str>::new());
    }
}
