//! The frame of every page: templates, the one stylesheet, and a content security policy that lets nothing else in
//! ([CSP Level 3](https://www.w3.org/TR/CSP3/)).
//!
//! Pages work without JavaScript and load nothing, not even from us: the stylesheet stands in the page and is allowed by its hash, as
//! is the one line of script of `form_post`. Nobody may frame them ([RFC 9700 section 4.16](https://www.rfc-editor.org/rfc/rfc9700#section-4.16)).

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use actix_web::http::{ConnectionType, StatusCode};
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::domain::client::Client;
use crate::domain::redirect_uri;
use crate::error::{self, PageFault, SignInRefusal};

/// The stylesheet of every page.
pub const STYLE: &str = include_str!("../../../templates/style.css");
/// The script of `form_post`: what the visible button does, without waiting for it.
const SUBMIT: &str = r#"document.getElementById("form-post").submit()"#;

static STYLE_SOURCE: LazyLock<String> = LazyLock::new(|| hash_source(STYLE));
static SUBMIT_SOURCE: LazyLock<String> = LazyLock::new(|| hash_source(SUBMIT));

/// The client as pages show it.
pub struct ClientInfo<'a> {
    name: &'a str,
    initial: String,
    home: Option<&'a str>,
    logo: Option<&'a str>,
    policy: Option<&'a str>,
    terms: Option<&'a str>,
}

impl<'a> ClientInfo<'a> {
    /// What is known of `client`.
    pub fn of(client: &'a Client) -> Self {
        let metadata = &client.metadata;
        let name = client.name();
        Self {
            name,
            initial: name
                .chars()
                .find(|c| c.is_alphanumeric())
                .map_or_else(|| "·".into(), |c| c.to_uppercase().collect()),
            home: metadata.client_uri.as_deref(),
            logo: metadata.logo_uri.as_deref(),
            policy: metadata.policy_uri.as_deref(),
            terms: metadata.tos_uri.as_deref(),
        }
    }
}

/// The sign-in page.
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage<'a> {
    /// Where the form goes.
    pub action: String,
    /// Against forged forms.
    pub csrf: String,
    /// Who wants it.
    pub client: ClientInfo<'a>,
    /// The name in the field.
    pub username: &'a str,
    /// Who is signed in already, if they have to sign in again.
    pub signed_in_as: Option<&'a str>,
    /// What was wrong with the last attempt.
    pub refusal: Option<SignInRefusal>,
}

/// One line of the consent page.
pub struct ScopeLine {
    /// In words.
    pub sentence: String,
    /// On the wire.
    pub token: String,
}

/// The consent page.
#[derive(Template)]
#[template(path = "consent.html")]
pub struct ConsentPage<'a> {
    /// Where the form goes.
    pub action: String,
    /// Against forged forms.
    pub csrf: String,
    /// What the answer is to.
    pub question: String,
    /// Who asks.
    pub client: ClientInfo<'a>,
    /// For what.
    pub scopes: Vec<ScopeLine>,
    /// Whose account.
    pub username: &'a str,
    /// The host that the answer goes to: a name can be made up, a host cannot.
    pub destination: String,
}

/// The question whether to sign out.
#[derive(Template)]
#[template(path = "logout.html")]
pub struct LogoutPage<'a> {
    /// Where the form goes.
    pub action: String,
    /// Against forged forms.
    pub csrf: String,
    /// The sealed request, so that the answer finds its way back.
    pub request: String,
    /// Who is signed in.
    pub username: &'a str,
    /// Who sent the person here, if it could prove it.
    pub client_name: Option<&'a str>,
}

/// A page that only says something.
#[derive(Template)]
#[template(path = "notice.html")]
pub struct NoticePage {
    /// Its `id`.
    pub id: &'static str,
    /// The headline.
    pub title: &'static str,
    /// The sentence below.
    pub text: &'static str,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    code: &'static str,
    explanation: String,
}

#[derive(Template)]
#[template(path = "form_post.html")]
struct FormPostPage<'a> {
    action: &'a str,
    client_name: &'a str,
    params: &'a [(&'a str, &'a str)],
    script: &'static str,
}

/// The page, whose form may lead to `target` in the end.
pub fn show(
    status: StatusCode,
    page: &impl Template,
    target: Option<&str>,
) -> Result<HttpResponse, PageFault> {
    answer(status, page, target, None)
}

/// The page of a fault. What a person cannot mend is logged here, once.
pub fn fault(app: &App, fault: &PageFault) -> HttpResponse {
    let code = fault.code().as_str();
    app.metrics.count_refused(code);
    if fault.status().is_server_error() {
        log::error!(error = code; "{fault}");
    } else {
        log::info!(error = code, cause:% = fault; "page refused");
    }
    let page = ErrorPage { code, explanation: fault.explanation() };
    let mut response = answer(fault.status(), &page, None, None)
        .unwrap_or_else(|_| HttpResponse::new(fault.status()));
    if fault.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, error::RETRY_AFTER.into());
    }
    if fault.must_close() {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
}

/// The form that carries an answer to the client by POST.
pub fn form_post(
    _: &App,
    client_name: &str,
    uri: &str,
    params: &[(&str, &str)],
) -> Result<HttpResponse, PageFault> {
    let page = FormPostPage { action: uri, client_name, params, script: SUBMIT };
    answer(StatusCode::OK, &page, Some(uri), Some(SUBMIT_SOURCE.as_str()))
}

fn answer(
    status: StatusCode,
    page: &impl Template,
    target: Option<&str>,
    script: Option<&str>,
) -> Result<HttpResponse, PageFault> {
    let html = page.render().map_err(|_| PageFault::Render)?;
    Ok(HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, policy(target, script)))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(html))
}

/// Browsers hold `form-action` against the whole chain of redirects behind a form, so the client's origin has to be in it.
fn policy(target: Option<&str>, script: Option<&str>) -> String {
    let style = STYLE_SOURCE.as_str();
    let script = script.map(|source| format!(" script-src {source};")).unwrap_or_default();
    let target = target
        .and_then(redirect_uri::form_action_source)
        .map(|source| format!(" {source}"))
        .unwrap_or_default();
    format!(
        "default-src 'none'; style-src {style};{script} form-action 'self'{target}; frame-ancestors 'none'; base-uri 'none'"
    )
}

/// A waiting time as people say it, rounded up.
pub fn wait_in_words(seconds: i64) -> String {
    let minutes = seconds.max(0).saturating_add(59) / 60;
    if minutes <= 1 { "a minute".into() } else { format!("{minutes} minutes") }
}

fn hash_source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_target_and_nothing_else() {
        let policy = policy(Some("https://app.example/cb?x=1"), None);
        assert!(policy.contains("form-action 'self' https://app.example;"), "{policy}");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
    }

    /// Relative luminance of `#rrggbb` ([WCAG 2.2](https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)).
    fn luminance(color: &str) -> f64 {
        let channel = |at: usize| {
            let value =
                f64::from(u8::from_str_radix(color.get(at..at + 2).unwrap(), 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    #[test]
    fn every_pair_of_colors_has_the_contrast_of_wcag_aa() {
        let schemes: Vec<_> = STYLE.split(":root {").skip(1).collect();
        assert_eq!(schemes.len(), 2, "light and dark");
        for scheme in schemes {
            let color = |name: &str| {
                let value = scheme.split(&format!("--{name}: ")).nth(1).unwrap();
                luminance(value.get(..7).unwrap())
            };
            for (front, back, least) in [
                ("ink", "card", 4.5),
                ("ink", "field", 4.5),
                ("soft", "card", 4.5),
                ("soft", "paper", 4.5),
                ("accent", "card", 4.5),
                ("accent-deep", "card", 4.5),
                ("on-accent", "accent", 4.5),
                ("on-accent", "accent-deep", 4.5),
                ("alert", "alert-paper", 4.5),
                ("field-line", "card", 3.0),
                ("field-line", "field", 3.0),
            ] {
                let (one, other) = (color(front), color(back));
                let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                assert!(contrast >= least, "{front} on {back}: {contrast:.2}");
            }
        }
    }

    #[test]
    fn what_stands_between_the_tags_is_what_was_hashed() {
        let page = FormPostPage {
            action: "https://a.example/\"><x",
            client_name: "<b>",
            params: &[("state", "\"><script>")],
            script: SUBMIT,
        };
        let html = page.render().unwrap();
        assert!(html.contains(&format!("<style>{STYLE}</style>")));
        assert!(html.contains(&format!("<script>{SUBMIT}</script>")));
        assert!(
            !html.contains("<b>") && !html.contains("<x") && !html.contains("\"><script>"),
            "{html}"
        );
        assert!(!STYLE.contains("</style"), "the sheet cannot end its own element");
    }
}
