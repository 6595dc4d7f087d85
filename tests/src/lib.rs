//! The harness: hostile tokens, a browser, clients, worlds and processes for the cases in `cases/`.
//!
//! | module | what it is |
//! |---|---|
//! | [`oracle`] | hand-made tokens and an issuer that misbehaves on demand; shares nothing with the code under test |
//! | [`client`] | the verbs of a client, of its user and of a caller of the API |
//! | [`http`], [`html`], [`browser`] | requests, forms, cookies; redirects only when told |
//! | [`world`] | the servers in this process, with a clock to move |
//! | [`engine`], [`cluster`] | where their rows are: files, databases on the test server, a PostgreSQL server of the case's own |
//! | [`processes`], [`realm`] | the servers as real processes |
//! | [`chromium`] | a real browser |
//! | [`landing`] | where a client waits for that browser |
//! | [`skip`] | how a case says that it cannot run here |

pub mod background;
pub mod browser;
pub mod chromium;
pub mod client;
pub mod cluster;
pub mod engine;
pub mod html;
pub mod http;
pub mod landing;
pub mod oracle;
pub mod processes;
pub mod realm;
pub mod seed;
pub mod skip;
pub mod world;
