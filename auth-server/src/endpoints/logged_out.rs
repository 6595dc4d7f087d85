//! `/logged-out`: the end of a session, when no client is waiting for the browser
//! ([OpenID Connect RP-Initiated Logout](https://openid.net/specs/openid-connect-rpinitiated-1_0.html)).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;

use super::pages::page::{self, NoticePage};
use crate::app::App;

/// Where it is, below the issuer.
pub const PATH: &str = "/logged-out";

/// Says so.
pub async fn get(app: Data<App>) -> HttpResponse {
    let page = NoticePage {
        id: "logged-out",
        title: "You are signed out",
        text: "Your session here has ended. You can close this page.",
    };
    page::show(StatusCode::OK, &page, None).unwrap_or_else(|fault| page::fault(&app, &fault))
}
