//! What every request passes through: its id, the access log, the metrics, and headers that every answer carries.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    self, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::web::Data;
use service::log_format::{ACCESS, REQUEST_ID};
use service::proxies;
use service::requests::{Pattern, X_REQUEST_ID, access_level, method_name};

use crate::app::{App, Lifecycle};
use crate::params::client_address;

/// Answers one request with everything around it.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a request really took; nothing is decided by it"
)]
pub(super) async fn edge(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let (Some(app), Some(lifecycle)) =
        (request.app_data::<Data<App>>().cloned(), request.app_data::<Data<Lifecycle>>().cloned())
    else {
        return next.call(request).await;
    };
    let client = client_address(request.request());
    let by_proxy = proxies::request_id(request.request(), &app.settings.trusted_proxies);
    let id = by_proxy.map_or_else(|| lifecycle.ids.next(), str::to_owned);
    let method = method_name(request.method());
    REQUEST_ID
        .scope(id.clone(), async {
            let mut response = next.call(request).await?;
            let took = started.elapsed();
            let route =
                response.request().app_data::<Pattern>().map_or("none", |pattern| pattern.0);
            let status = response.status().as_u16();
            app.metrics.requests.observe(route, method, status, took.as_secs_f64());
            log_access(&Answered { method, route, status, client, took });
            put_headers(response.headers_mut(), app.settings.issuer.is_https());
            if let Ok(id) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(X_REQUEST_ID, id);
            }
            Ok(response)
        })
        .await
}

/// One line of the access log: the route's pattern, never the path or the query, since both may hold what is secret.
struct Answered {
    method: &'static str,
    route: &'static str,
    status: u16,
    client: IpAddr,
    took: Duration,
}

fn log_access(line: &Answered) {
    let Answered { method, route, status, client, took } = line;
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let level = access_level(route);
    log::log!(
        target: ACCESS, level,
        method = *method, route = *route, status = *status, client:% = client, micros;
        "{method} {route} {status}"
    );
}

/// Headers that every answer carries. What a handler has set stays, except `nosniff`.
fn put_headers(headers: &mut HeaderMap, https: bool) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let mut default = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    default(REFERRER_POLICY, "no-referrer");
    default(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    // For browsers that do not know `frame-ancestors`.
    default(X_FRAME_OPTIONS, "DENY");
    // Whatever does not say that it may be kept is about one person or one moment.
    default(header::CACHE_CONTROL, "no-store");
    if https {
        default(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handlers_own_policy_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        put_headers(&mut headers, false);
        assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), "max-age=300");
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY));
        put_headers(&mut headers, true);
        assert!(headers.contains_key(STRICT_TRANSPORT_SECURITY));
    }
}
