//! What handlers take as arguments: parameters whose size and pace are bounded, and what a client shows beside them.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::StreamExt as _;

use super::{Params, ParamsFault, client_address};
use crate::app::App;
use crate::error::TokenError;

/// A handler argument: the parameters of the body, or why there are none, for a page to say.
#[derive(Debug)]
pub struct Form(pub Result<Params, ParamsFault>);

impl FromRequest for Form {
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Infallible>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move { Ok(Self(read_form(&request, payload).await)) })
    }
}

/// A handler argument: what the endpoints that clients call directly begin with.
#[derive(Debug)]
pub struct ClientRequest {
    /// The parameters of the body.
    pub params: Params,
    /// What the client shows in the header.
    pub authorization: Authorization,
    /// Where it calls from.
    pub address: IpAddr,
}

/// The header `Authorization` as it was sent, its content unproven.
pub enum Authorization {
    /// There is none.
    Absent,
    /// Exactly one.
    One(Vec<u8>),
    /// Several: nobody knows which one counts.
    Several,
}

/// The header holds a secret: only its number is shown.
impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::One(_) => "One(..)",
            Self::Several => "Several",
        })
    }
}

impl FromRequest for ClientRequest {
    type Error = TokenError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, TokenError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            // "Parameters [..] MUST NOT be included in the request URI" (RFC 6749 section 2.3.1): a URL ends up in logs.
            if !request.query_string().is_empty() {
                return Err(TokenError::ParametersInQuery);
            }
            Ok(Self {
                params: read_form(&request, payload).await?,
                authorization: authorization(&request),
                address: client_address(&request),
            })
        })
    }
}

fn authorization(request: &HttpRequest) -> Authorization {
    let mut values = request.headers().get_all(AUTHORIZATION);
    match (values.next(), values.next()) {
        (None, _) => Authorization::Absent,
        (Some(one), None) => Authorization::One(one.as_bytes().to_vec()),
        (Some(_), Some(_)) => Authorization::Several,
    }
}

/// Reads a form. Large and slow bodies end here: actix itself bounds only the head of a request.
pub async fn read_form(request: &HttpRequest, payload: Payload) -> Result<Params, ParamsFault> {
    check_headers(request.headers())?;
    let (limit, seconds) = request.app_data::<web::Data<App>>().map_or((64 * 1024, 10), |app| {
        (app.settings.http.body_bytes, app.settings.http.body_timeout)
    });
    let body = tokio::time::timeout(Duration::from_secs(seconds), read_body(payload, limit));
    Params::parse(&body.await.map_err(|_| ParamsFault::TooSlow)??)
}

/// One media type, the form's, and no compression: two readers of one body must not see two texts, and a limit of the bytes sent
/// must be one of the bytes read.
fn check_headers(headers: &HeaderMap) -> Result<(), ParamsFault> {
    let mut content_types = headers.get_all(CONTENT_TYPE);
    let content_type = content_types.next().map_or(&b""[..], HeaderValue::as_bytes);
    if content_types.next().is_some() {
        return Err(ParamsFault::SeveralContentTypes);
    }
    if !is_form(content_type) {
        return Err(ParamsFault::ContentType);
    }
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).all(identity) {
        return Err(ParamsFault::ContentEncoding);
    }
    Ok(())
}

fn is_form(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

async fn read_body(mut payload: Payload, limit: usize) -> Result<Bytes, ParamsFault> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ParamsFault::Incomplete)?;
        if body.len() + chunk.len() > limit {
            return Err(ParamsFault::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_media_type_counts_without_its_parameters() {
        assert!(is_form(b"application/x-www-form-urlencoded"));
        assert!(is_form(b"Application/X-WWW-Form-Urlencoded; charset=UTF-8"));
        for other in [&b""[..], b"application/json", b"multipart/form-data", b"text/plain"] {
            assert!(!is_form(other));
        }
    }

    #[test]
    fn one_media_type_and_no_compression() {
        let check = |lines: &[(&str, &str)]| {
            let mut request = TestRequest::default();
            for line in lines {
                request = request.append_header(*line);
            }
            check_headers(request.to_http_request().headers())
        };
        let form = ("content-type", "application/x-www-form-urlencoded");
        assert_eq!(check(&[form]), Ok(()));
        assert_eq!(check(&[form, ("content-encoding", "Identity")]), Ok(()));
        assert_eq!(check(&[]), Err(ParamsFault::ContentType));
        for second in [form, ("content-type", "application/json")] {
            assert_eq!(check(&[form, second]), Err(ParamsFault::SeveralContentTypes));
            assert_eq!(check(&[second, form]), Err(ParamsFault::SeveralContentTypes));
        }
        for coding in ["gzip", "br", "identity, gzip", "x", ""] {
            let coding = ("content-encoding", coding);
            assert_eq!(check(&[form, coding]), Err(ParamsFault::ContentEncoding));
            let identity = ("content-encoding", "identity");
            assert_eq!(check(&[form, identity, coding]), Err(ParamsFault::ContentEncoding));
        }
    }
}
