//! Where a request comes from, when proxies stand before the server.

use std::net::IpAddr;

use actix_web::{HttpRequest, web};
use service::proxies;

use crate::app::App;

/// Where a request comes from: the peer, or what a trusted proxy says before it (see [`proxies::client_address`]).
pub fn client_address(request: &HttpRequest) -> IpAddr {
    let app = request.app_data::<web::Data<App>>();
    proxies::client_address(request, app.map_or(&[], |app| &app.settings.trusted_proxies))
}
