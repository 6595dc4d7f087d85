//! A browser without a screen: it keeps cookies, fills in forms, and follows a redirect only when told to.

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::{COOKIE, HeaderValue, SET_COOKIE};
use url::Url;

use crate::html::{self, Form, Tag};
use crate::http::{Answer, Http, try_send};

/// One browser: its cookies are its own.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    http: Http,
    /// By host, then name: cookies ignore ports (RFC 6265 section 8.5), and both servers live on one host.
    jar: BTreeMap<(String, String), Cookie>,
    /// What others set for the same host: sent before the jar's, and after them.
    foreign: (Vec<u8>, Vec<u8>),
}

#[derive(Clone, Debug)]
struct Cookie {
    value: String,
    path: String,
    raw: String,
}

/// A page: the answer to a request of a browser.
#[derive(Clone, Debug)]
pub struct Page {
    /// The answer.
    pub answer: Answer,
    /// The URL that was asked for.
    pub url: Url,
}

impl Browser {
    /// A browser that knows nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// A browser that talks through `http`, for servers with certificates of their own.
    pub fn with(http: Http) -> Self {
        Self { http, ..Self::default() }
    }

    /// Opens a page.
    pub async fn get(&mut self, url: &str) -> Page {
        self.send(Method::GET, &Url::parse(url).unwrap(), &[]).await
    }

    /// Like [`get`](Self::get), for a server that may hang up.
    pub async fn try_get(&mut self, url: &str) -> reqwest::Result<Page> {
        self.try_send(Method::GET, &Url::parse(url).unwrap(), &[]).await
    }

    /// Sends a form of `page`, as the person would by pressing its button.
    pub async fn submit(&mut self, page: &Page, form: &Form) -> Page {
        self.try_submit(page, form).await.expect("an answer")
    }

    /// Like [`submit`](Self::submit), for a server that may hang up.
    pub async fn try_submit(&mut self, page: &Page, form: &Form) -> reqwest::Result<Page> {
        let mut url = page.url.join(&form.action).unwrap();
        if form.method == "post" {
            return self.try_send(Method::POST, &url, &form.fields).await;
        }
        url.query_pairs_mut().clear().extend_pairs(&form.fields);
        self.try_send(Method::GET, &url, &[]).await
    }

    /// Opens where `page` redirects to.
    pub async fn follow(&mut self, page: &Page) -> Page {
        let url = page.location();
        self.send(Method::GET, &url, &[]).await
    }

    /// Follows redirects as long as they stay on the page's own origin; the last page is an answer of its own, or a
    /// redirect that leaves (see [`Page::location`]).
    pub async fn settle(&mut self, mut page: Page) -> Page {
        for _ in 0..10 {
            if !page.redirects() || page.location().origin() != page.url.origin() {
                return page;
            }
            page = self.follow(&page).await;
        }
        panic!("more than ten redirects, the last to {}", page.location());
    }

    /// The cookie of that name, as it was last set on `host`.
    pub fn cookie(&self, host: &str, name: &str) -> Option<&str> {
        let key = (host.to_owned(), name.to_owned());
        self.jar.get(&key).map(|cookie| cookie.value.as_str())
    }

    /// Every cookie of `host`, by its name.
    pub fn cookies(&self, host: &str) -> impl Iterator<Item = (&str, &str)> {
        self.jar
            .iter()
            .filter(move |((of, _), _)| of == host)
            .map(|((_, name), cookie)| (name.as_str(), cookie.value.as_str()))
    }

    /// The last `Set-Cookie` line for that name, to look at its attributes.
    pub fn cookie_line(&self, host: &str, name: &str) -> Option<&str> {
        let key = (host.to_owned(), name.to_owned());
        self.jar.get(&key).map(|cookie| cookie.raw.as_str())
    }

    /// Puts a cookie there, as an attacker on a neighboring host might.
    pub fn plant(&mut self, host: &str, name: &str, value: &str) {
        let cookie = Cookie { value: value.to_owned(), path: "/".to_owned(), raw: String::new() };
        self.jar.insert((host.to_owned(), name.to_owned()), cookie);
    }

    /// Lets another program of the same host set cookies too: pairs as they stand in the header, before ours (as with a longer path) and
    /// after. They stay whatever the server sets, since it cannot reach them.
    pub fn plant_beside(&mut self, before: &[&[u8]], after: &[&[u8]]) {
        let line = |pairs: &[&[u8]]| pairs.join(&b"; "[..]);
        self.foreign = (line(before), line(after));
    }

    /// Forgets every cookie, as a new browser would.
    pub fn forget(&mut self) {
        self.jar.clear();
        self.foreign = Default::default();
    }

    async fn send(&mut self, method: Method, url: &Url, fields: &[(String, String)]) -> Page {
        self.try_send(method, url, fields).await.expect("an answer")
    }

    async fn try_send(
        &mut self,
        method: Method,
        url: &Url,
        fields: &[(String, String)],
    ) -> reqwest::Result<Page> {
        let mut request = self.http.request(method.clone(), url.as_str());
        if method == Method::POST {
            // What browsers send with a form of a page whose referrer policy is no-referrer.
            request = request
                .header("Origin", "null")
                .header("Sec-Fetch-Site", "same-origin")
                .form(fields);
        }
        let cookies = self.cookies_for(url);
        if !cookies.is_empty() {
            request = request.header(COOKIE, HeaderValue::from_bytes(&cookies).unwrap());
        }
        let answer = try_send(request).await?;
        self.keep(url, &answer);
        Ok(Page { answer, url: url.clone() })
    }

    fn cookies_for(&self, url: &Url) -> Vec<u8> {
        let host = url.host_str().unwrap_or_default();
        let sent: Vec<String> = self
            .jar
            .iter()
            .filter(|((of, _), cookie)| of == host && url.path().starts_with(&cookie.path))
            .map(|((_, name), cookie)| format!("{name}={}", cookie.value))
            .collect();
        let (before, after) = &self.foreign;
        let parts = [before.clone(), sent.join("; ").into_bytes(), after.clone()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(&b"; "[..])
    }

    fn keep(&mut self, url: &Url, answer: &Answer) {
        for line in answer.headers.get_all(SET_COOKIE) {
            let raw = line.to_str().unwrap().to_owned();
            let mut parts = raw.split(';').map(str::trim);
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let attributes: BTreeMap<String, &str> = parts
                .map(|part| part.split_once('=').unwrap_or((part, "")))
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect();
            let key = (url.host_str().unwrap().to_owned(), name.to_owned());
            if attributes.get("max-age").is_some_and(|age| *age == "0") {
                self.jar.remove(&key);
                continue;
            }
            let cookie = Cookie {
                value: value.to_owned(),
                path: attributes.get("path").copied().unwrap_or("/").to_owned(),
                raw: raw.clone(),
            };
            self.jar.insert(key, cookie);
        }
    }
}

impl Page {
    /// The status of its answer.
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    /// Its source.
    pub fn text(&self) -> String {
        self.answer.text()
    }

    /// The form with that `id`.
    pub fn form(&self, id: &str) -> Form {
        Form::find(&self.text(), id).unwrap_or_else(|| {
            panic!("{} answered {} without a form {id}: {}", self.url, self.status(), self.text())
        })
    }

    /// The element with that `id`, if there is one.
    pub fn element(&self, id: &str) -> Option<Tag> {
        html::tags(&self.text()).into_iter().find(|tag| tag.get("id") == id)
    }

    /// Whether it sends the browser elsewhere.
    pub fn redirects(&self) -> bool {
        (300..400).contains(&self.status())
    }

    /// Where it sends the browser to.
    pub fn location(&self) -> Url {
        let location = self.answer.header("Location");
        assert!(
            self.redirects() && !location.is_empty(),
            "{} does not redirect: {} {}",
            self.url,
            self.status(),
            self.text()
        );
        self.url.join(location).unwrap()
    }

    /// A parameter in the query of [`location`](Self::location), or the empty text.
    pub fn location_param(&self, name: &str) -> String {
        self.location()
            .query_pairs()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    }
}
