//! What every request passes through: its id, the access log, the metrics, and headers that every answer carries.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest};
use service::log_format::{ACCESS, REQUEST_ID, security_event};
use service::proxies;
use service::requests::{Pattern, RequestIds, X_REQUEST_ID, access_level, method_name};
use shared_types::ErrorCode;

use crate::app::App;
use crate::guard::bearer::RefusedBecause;
use crate::guard::resource_metadata::WELL_KNOWN;

/// Answers one request with everything around it.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a request really took; nothing is decided by it"
)]
pub async fn edge(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let data = (request.app_data::<Data<App>>().cloned(), request.app_data::<Data<RequestIds>>());
    let (Some(app), Some(ids)) = data else {
        return next.call(request).await;
    };
    let trusted = &app.settings.trusted_proxies;
    let client = proxies::client_address(request.request(), trusted);
    let id =
        proxies::request_id(request.request(), trusted).map_or_else(|| ids.next(), str::to_owned);
    let header = HeaderValue::try_from(&id);
    let method = method_name(request.method());
    REQUEST_ID
        .scope(id, async move {
            let mut response = next.call(request).await?;
            let line = Line {
                method,
                route: route(response.request()),
                status: response.status().as_u16(),
                client,
                refused: response.request().extensions().get::<RefusedBecause>().copied(),
                took: started.elapsed(),
            };
            app.metrics.requests.observe(
                line.route,
                line.method,
                line.status,
                line.took.as_secs_f64(),
            );
            if let Some(refused) = line.refused {
                app.metrics.count_refused(refused.cause);
                line.log_refusal(refused);
            }
            line.log();
            let headers = response.headers_mut();
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            if let Ok(id) = header {
                headers.insert(X_REQUEST_ID, id);
            }
            if app.settings.resource.as_str().starts_with("https:") {
                headers.insert(
                    STRICT_TRANSPORT_SECURITY,
                    HeaderValue::from_static("max-age=31536000"),
                );
            }
            Ok(response)
        })
        .await
}

/// The pattern of the route that answered. The guard mounts its one route itself and knows nothing of our patterns.
fn route(request: &HttpRequest) -> &'static str {
    match request.app_data::<Pattern>() {
        Some(pattern) => pattern.0,
        None if request.match_name() == Some(WELL_KNOWN) => WELL_KNOWN,
        None => "none",
    }
}

/// One line of the access log: the route's pattern, never the path or the query, since both may hold what is private.
struct Line {
    method: &'static str,
    route: &'static str,
    status: u16,
    client: IpAddr,
    refused: Option<RefusedBecause>,
    took: Duration,
}

impl Line {
    /// A token that was shown and did not open the door. To come without one is no event: it is how a client asks for the way.
    fn log_refusal(&self, RefusedBecause { cause, code }: RefusedBecause) {
        let Some(code) = code.map(ErrorCode::as_str) else { return };
        security_event(
            "bearer_refused",
            &[
                ("error", &code),
                ("cause", &cause),
                ("route", &self.route),
                ("client", &self.client),
            ],
        );
    }

    fn log(&self) {
        let Self { method, route, status, client, refused, took } = *self;
        let level = access_level(route);
        if !log::log_enabled!(target: ACCESS, level) {
            return;
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        match refused {
            None => {
                log::log!(target: ACCESS, level, method, route, status, client:%, micros; "{method} {route} {status}");
            }
            Some(RefusedBecause { cause, .. }) => {
                log::log!(target: ACCESS, level, method, route, status, cause, client:%, micros; "{method} {route} {status}");
            }
        }
    }
}
