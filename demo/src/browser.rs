//! The Resource Owner's browser for the walk: keeps cookies, follows nothing by itself, fills in forms.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Response, StatusCode};
use url::Url;

use crate::oauth;

/// A browser with one jar of cookies; the walk visits one origin only.
pub struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

/// Where a request ended.
pub struct Page {
    /// Its address.
    pub url: Url,
    /// Its text.
    pub html: String,
}

/// A page, or a redirect that leaves the authorization server.
pub enum Visit {
    /// A page to read.
    Page(Page),
    /// An address of the client.
    Leaves(Url),
}

impl Browser {
    /// A browser that was never used before.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { http: oauth::http_client()?, cookies: BTreeMap::new() })
    }

    /// Opens `url` and follows redirects as long as they stay on its origin.
    pub async fn open(&mut self, url: Url) -> anyhow::Result<Visit> {
        let answer = self.http.get(url.clone()).header(COOKIE, self.cookie_header()).send().await?;
        self.arrive(url, answer).await
    }

    /// Sends the form of `page` with its hidden fields and `fields` filled in.
    pub async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> anyhow::Result<Visit> {
        let action = attribute(&page.html, "<form", "action").context("the page has no form")?;
        let url = page.url.join(&action)?;
        let mut form = hidden_fields(&page.html);
        form.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let request = self.http.post(url.clone()).header(COOKIE, self.cookie_header()).form(&form);
        let answer = request.send().await?;
        self.arrive(url, answer).await
    }

    async fn arrive(&mut self, mut url: Url, mut answer: Response) -> anyhow::Result<Visit> {
        for _ in 0..10 {
            self.keep_cookies(&answer);
            if answer.status() != StatusCode::SEE_OTHER {
                if !answer.status().is_success() {
                    bail!("{} answered {}", url.path(), answer.status());
                }
                return Ok(Visit::Page(Page { url, html: answer.text().await? }));
            }
            let target = answer
                .headers()
                .get(LOCATION)
                .context("a redirect without a target")?
                .to_str()?
                .to_owned();
            let next = url.join(&target)?;
            if next.origin() != url.origin() {
                return Ok(Visit::Leaves(next));
            }
            answer =
                self.http.get(next.clone()).header(COOKIE, self.cookie_header()).send().await?;
            url = next;
        }
        bail!("more than ten redirects")
    }

    fn cookie_header(&self) -> String {
        self.cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn keep_cookies(&mut self, answer: &Response) {
        for cookie in
            answer.headers().get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok())
        {
            if let Some((name, value)) =
                cookie.split(';').next().and_then(|pair| pair.split_once('='))
            {
                self.cookies.insert(name.trim().to_owned(), value.to_owned());
            }
        }
    }
}

/// The value of an attribute in the first tag that begins with `tag`.
fn attribute(html: &str, tag: &str, name: &str) -> Option<String> {
    let (_, rest) = html.split_once(tag)?;
    let (inside, _) = rest.split_once('>')?;
    let (_, value) = inside.split_once(&format!(" {name}=\""))?;
    let (value, _) = value.split_once('"')?;
    Some(unescape(value))
}

fn hidden_fields(html: &str) -> Vec<(String, String)> {
    let tags = html.split("<input").skip(1).map(|rest| format!("<input{rest}"));
    tags.filter(|tag| attribute(tag, "<input", "type").as_deref() == Some("hidden"))
        .filter_map(|tag| {
            Some((attribute(&tag, "<input", "name")?, attribute(&tag, "<input", "value")?))
        })
        .collect()
}

fn unescape(text: &str) -> String {
    let named = [
        ("&#38;", "&"),
        ("&amp;", "&"),
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&lt;", "<"),
        ("&gt;", ">"),
    ];
    // `&amp;` in its two spellings is replaced last, so that an escaped entity stays a text.
    let (ampersands, others) = named.split_at(2);
    others
        .iter()
        .chain(ampersands)
        .fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_fields_and_actions_are_read_from_a_page() {
        let html = r#"<form id="f" method="post" action="/login?r=a&amp;b=1"><input type="hidden" name="csrf" value="x&#34;y"><input type="text" name="username"></form>"#;
        assert_eq!(attribute(html, "<form", "action").as_deref(), Some("/login?r=a&b=1"));
        assert_eq!(hidden_fields(html), [("csrf".to_owned(), "x\"y".to_owned())]);
    }
}
