//! The rows of the table: what is asked of whom, next to which bare endpoint, and how near to it the product has to come.

use std::time::Duration;

use anyhow::Result;
use tests::browser::{Browser, Page};
use tests::client::Client;
use url::Url;

use crate::load::{Traffic, run};
use crate::machine::Process;
use crate::measure;
use crate::seed::Kind;
use crate::stage::Stage;
use crate::state::{Alg, CALLBACK, CONNECTIONS, MACHINE, PASSWORD, SECRET, Web, person};
use crate::traffic::{
    Again, Codes, Collecting, EachItsOwn, Rotation, bearer, client_credentials, get, introspection,
    post,
};

/// The bare endpoint beside a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// `GET` of a tiny JSON.
    Hello,
    /// `POST` of a form of a hundred bytes, answered by about 770.
    Form,
    /// The sample API's `/whoami` without the guard.
    Whoami,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The bare endpoints.
    Bare,
    /// The authorization server.
    Auth,
    /// The resource server for tokens of this algorithm.
    Api(Alg),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// A bare endpoint.
    Bare(Base),
    /// The key set.
    Jwks,
    /// `client_credentials`.
    ClientCredentials(Alg),
    /// A code for access token, ID token and refresh token.
    Redemption(Web),
    /// A refresh token for an access token and the next refresh token.
    Rotation,
    /// What a refresh token is worth.
    IntrospectRefresh,
    /// What an access token is worth: the same again, or more of them than any cache holds.
    IntrospectAccess(Alg, Cache),
    /// `GET /whoami` with a token.
    Resource(Alg, Cache),
    /// The form of `/login`, by a person who was not signed in; it ends with a code.
    SignIn,
}

/// Whether a token was verified before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// It was, a moment ago.
    Warm,
    /// It was not, or so long ago that every cache has forgotten.
    Cold,
}

/// What a row has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Nothing is set.
    None,
    /// The bare endpoint's processor time is at least this share of the row's: so many of its answers come from a busy processor.
    Share(f64),
    /// At most this many times the processor time of one operation.
    Times(f64, &'static str),
    /// At most this many times one operation on top of the bare endpoint.
    Added(f64, &'static str),
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name in the table, and for `--only`.
    pub name: String,
    /// Next to what.
    pub base: Base,
    /// Of whom.
    pub server: Server,
    /// What.
    pub load: Load,
    /// How near.
    pub target: Target,
}

/// More tokens than any cache of either server holds.
const MORE_THAN_CACHED: usize = 6_000;
/// Grants behind the rows that use refresh tokens.
const GRANTS: usize = 4_096;
/// Codes a second that no server redeems.
const CODES_A_SECOND: f64 = 9_000.0;

/// One fsync at most for so many acknowledged rotations.
const ROTATIONS_A_COMMIT: f64 = 8.0;
/// No database access. What the server asks by itself, once a second, is shared by thousands of answers.
const NO_ACCESS: f64 = 0.001;

/// Characters of an access token.
const TOKEN: usize = 500;

/// Every row, in the order of the table.
pub fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |name: &str, base, server, load, target| {
        rows.push(Row { name: name.to_owned(), base, server, load, target });
    };
    add("hello", Base::Hello, Server::Bare, Load::Bare(Base::Hello), Target::None);
    add("form", Base::Hello, Server::Bare, Load::Bare(Base::Form), Target::None);
    add("jwks", Base::Hello, Server::Auth, Load::Jwks, Target::None);
    for (alg, target) in [
        (Alg::EdDsa, Target::Share(0.30)),
        (Alg::Es256, Target::Share(0.21)),
        (Alg::Rs256, Target::Times(1.15, "sign RS256")),
    ] {
        let name = format!("client-credentials-{}", alg.lower());
        add(&name, Base::Form, Server::Auth, Load::ClientCredentials(alg), target);
    }
    let targets = [Target::Share(0.09), Target::Share(0.08), Target::Times(1.25, "sign RS256")];
    for (web, target) in Web::ALL.into_iter().zip(targets) {
        let name = format!("code-{}-{}", web.access.lower(), web.id.lower());
        add(&name, Base::Form, Server::Auth, Load::Redemption(web), target);
    }
    add("refresh", Base::Form, Server::Auth, Load::Rotation, Target::Share(0.14));
    let load = Load::IntrospectRefresh;
    add("introspect-refresh", Base::Form, Server::Auth, load, Target::Share(0.35));
    let load = Load::IntrospectAccess(Alg::Es256, Cache::Warm);
    add("introspect-access-warm", Base::Form, Server::Auth, load, Target::Share(0.30));
    let load = Load::IntrospectAccess(Alg::Es256, Cache::Cold);
    add("introspect-access-cold", Base::Form, Server::Auth, load, Target::Share(0.12));
    for (alg, cold) in [
        (Alg::EdDsa, Target::Added(2.0, "verify EdDSA")),
        (Alg::Es256, Target::Added(2.2, "verify ES256")),
        (Alg::Rs256, Target::None),
    ] {
        let (server, lower) = (Server::Api(alg), alg.lower());
        let load = Load::Resource(alg, Cache::Cold);
        add(&format!("resource-cold-{lower}"), Base::Whoami, server, load, cold);
        let load = Load::Resource(alg, Cache::Warm);
        let name = format!("resource-warm-{lower}");
        add(&name, Base::Whoami, server, load, Target::Share(0.80));
    }
    add("sign-in", Base::Form, Server::Auth, Load::SignIn, Target::None);
    rows
}

impl Row {
    /// Whether its rows are in the database of the authorization server, so that the engine matters.
    pub fn uses_database(&self) -> bool {
        use Load::{IntrospectAccess, IntrospectRefresh, Redemption, Rotation, SignIn};
        matches!(
            self.load,
            Redemption(_) | Rotation | IntrospectRefresh | IntrospectAccess(..) | SignIn
        )
    }

    /// How much the database's counter may grow at most for each answer, where a row is held to that.
    pub fn most(&self, counter: &str) -> Option<f64> {
        match (self.load, counter) {
            (Load::Rotation, measure::COMMITS) => Some(1.0 / ROTATIONS_A_COMMIT),
            (Load::ClientCredentials(_), measure::COMMITS | measure::READS) => Some(NO_ACCESS),
            _ => None,
        }
    }
}

impl Server {
    /// Its process.
    pub fn process(self, stage: &Stage) -> &Process {
        match self {
            Self::Bare => &stage.bare,
            Self::Auth => &stage.auth,
            Self::Api(alg) => &stage.apis[alg.as_str()],
        }
    }
}

/// The traffic of a bare endpoint.
pub fn bare(base: Base) -> Box<dyn Traffic> {
    let form = "grant_type=client_credentials&scope=eddsa%3Aread&resource=https%3A%2F%2Feddsa.api.example%2F1";
    let request = match base {
        Base::Hello => get("/hello", ""),
        Base::Form => post("/form", "", form),
        // The same request as the guarded one: what differs is that nobody looks at the token.
        Base::Whoami => get("/whoami", &bearer(&"t".repeat(TOKEN))),
    };
    Box::new(Again::of(vec![request], ""))
}

/// The traffic of one round of a row that lasts `time`; makes what it needs first.
pub async fn traffic(stage: &Stage, load: Load, time: Duration) -> Result<Box<dyn Traffic>> {
    Ok(match load {
        Load::Bare(base) => bare(base),
        Load::Jwks => Box::new(Again::of(vec![get("/jwks.json", "")], "keys")),
        Load::ClientCredentials(alg) => {
            Box::new(Again::of(vec![client_credentials(alg)], "access_token"))
        }
        Load::Redemption(web) => {
            let count = CONNECTIONS + (time.as_secs_f64() * CODES_A_SECOND) as usize;
            Box::new(Codes { web, codes: stage.seeder.make(web, Kind::Code, count, 1).await? })
        }
        Load::Rotation => {
            let (web, tokens) = refresh_tokens(stage).await?;
            Box::new(Rotation::of(web, tokens))
        }
        Load::IntrospectRefresh => {
            let (web, tokens) = refresh_tokens(stage).await?;
            let ask = |token: &String| introspection(&web.id(), token);
            Box::new(Again::of(tokens.iter().map(ask).collect(), "\"active\":true"))
        }
        Load::IntrospectAccess(alg, cache) => {
            let tokens = access_tokens(stage, alg, cache).await?;
            let ask = |token: &String| introspection(MACHINE, token);
            Box::new(Again::of(tokens.iter().map(ask).collect(), "\"active\":true"))
        }
        Load::Resource(alg, cache) => {
            let tokens = access_tokens(stage, alg, cache).await?;
            let ask = |token: &String| get("/whoami", &bearer(token));
            Box::new(Again::of(tokens.iter().map(ask).collect(), "client_id"))
        }
        Load::SignIn => Box::new(sign_ins(stage).await?),
    })
}

async fn refresh_tokens(stage: &Stage) -> Result<(Web, Vec<String>)> {
    let web = Web::ALL[0];
    Ok((web, stage.seeder.make(web, Kind::Refresh, GRANTS, 1).await?))
}

async fn access_tokens(stage: &Stage, alg: Alg, cache: Cache) -> Result<Vec<String>> {
    let count = if cache == Cache::Warm { CONNECTIONS } else { MORE_THAN_CACHED };
    let mut collecting = Collecting::access_tokens(alg, count);
    run(stage.auth.addr, CONNECTIONS, Duration::from_secs(300), &mut collecting).await?;
    Ok(collecting.tokens)
}

/// A browser for each connection that has come as far as the form.
async fn sign_ins(stage: &Stage) -> Result<EachItsOwn> {
    let web = Web::ALL[0];
    let client = Client::new(&stage.issuer, &web.id(), SECRET, CALLBACK);
    let mut requests = Vec::new();
    for number in 0..CONNECTIONS {
        let mut browser = Browser::new();
        let pending = client.begin(&web.scope(), &number.to_string());
        let mut page = browser.get(&pending.url()).await;
        let mut cookies = set_cookies(&page);
        while page.redirects() {
            page = browser.follow(&page).await;
            cookies.extend(set_cookies(&page));
        }
        let cookies = cookies.join("; ");
        let form = page.form("login-form").set("username", &person(number));
        let form = form.set("password", PASSWORD).press("login-submit");
        let url = page.url.join(&form.action)?;
        let mut fields = url::form_urlencoded::Serializer::new(String::new());
        fields.extend_pairs(&form.fields);
        let headers =
            format!("Origin: null\r\nSec-Fetch-Site: same-origin\r\nCookie: {cookies}\r\n");
        requests.push(post(&path_and_query(&url), &headers, &fields.finish()));
    }
    Ok(EachItsOwn { requests, status: 303 })
}

/// The cookies that an answer sets, as they are sent back.
fn set_cookies(page: &Page) -> Vec<String> {
    let lines = page.answer.headers.get_all("Set-Cookie").iter();
    lines.filter_map(|line| line.to_str().ok()?.split(';').next().map(str::to_owned)).collect()
}

fn path_and_query(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}
