//! What the pages share: their frame, the cookies, the guard against forged forms, the request on its way, and the answer to the client.
//!
//! Read [`progress`] first: it is the order in which a request goes from one page to the next.

pub mod cookies;
pub mod csrf;
pub mod issue;
pub mod outage;
pub mod page;
pub mod progress;
pub mod reply;
pub mod sealed_request;
