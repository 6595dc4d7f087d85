//! What the measured server has registered: three APIs, three web clients, a machine, and a person for each connection.

use std::fmt::Write as _;

/// Connections of the load, and people who sign in.
pub const CONNECTIONS: usize = 64;
/// The secret of every client.
pub const SECRET: &str = "a-client-secret-of-at-least-32-characters";
/// The password of every person.
pub const PASSWORD: &str = "correct horse battery staple";
/// Where the clients want the browser back; nothing listens there.
pub const CALLBACK: &str = "https://web.example/callback";
/// The client that acts for itself, and that may introspect what is for the APIs.
pub const MACHINE: &str = "machine";

/// Algorithms of access tokens: each has an API of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alg {
    /// Ed25519.
    EdDsa,
    /// P-256.
    Es256,
    /// RSA-2048 with PKCS #1 v1.5.
    Rs256,
}

impl Alg {
    /// All three.
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    /// As headers and settings name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// For names.
    pub fn lower(self) -> String {
        self.as_str().to_ascii_lowercase()
    }

    /// The identifier of its API, which nothing but tokens names.
    pub fn resource(self) -> String {
        format!("https://{}.api.example", self.lower())
    }

    /// The one scope of that API.
    pub fn scope(self) -> String {
        format!("{}:read", self.lower())
    }
}

/// A web client: what signs its access and its ID tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Web {
    /// Its access tokens.
    pub access: Alg,
    /// Its ID tokens.
    pub id: Alg,
}

impl Web {
    /// Those that are registered.
    pub const ALL: [Self; 3] = [
        Self { access: Alg::EdDsa, id: Alg::EdDsa },
        Self { access: Alg::Es256, id: Alg::Es256 },
        Self { access: Alg::Es256, id: Alg::Rs256 },
    ];

    /// Its `client_id`.
    pub fn id(self) -> String {
        format!("web-{}-{}", self.access.lower(), self.id.lower())
    }

    /// What a person has allowed it.
    pub fn scope(self) -> String {
        format!("openid offline_access {}", self.access.scope())
    }
}

/// The name of a person.
pub fn person(number: usize) -> String {
    format!("person-{number}")
}

/// The declared state.
pub fn declared() -> String {
    let mut text = String::new();
    for alg in Alg::ALL {
        let (resource, scope, name) = (alg.resource(), alg.scope(), alg.as_str());
        write!(
            text,
            "[[api]]\nidentifier = \"{resource}\"\nname = \"{name}\"\nscopes = {{ \"{scope}\" = \"Read\" }}\n\
             signing_alg = \"{name}\"\naccess_token_lifetime = \"12h\"\nintrospected_by = [\"{MACHINE}\"]\n\n"
        )
        .expect("a text takes what is written");
    }
    for web in Web::ALL {
        let (id, scope, alg) = (web.id(), web.scope(), web.id.as_str());
        write!(
            text,
            "[[client]]\nclient_id = \"{id}\"\nredirect_uris = [\"{CALLBACK}\"]\nclient_secret = \"{SECRET}\"\n\
             grant_types = [\"authorization_code\", \"refresh_token\"]\nscope = \"{scope}\"\n\
             id_token_signed_response_alg = \"{alg}\"\nconsent = \"skip\"\n\n"
        )
        .expect("a text takes what is written");
    }
    let scope = Alg::ALL.map(Alg::scope).join(" ");
    write!(
        text,
        "[[client]]\nclient_id = \"{MACHINE}\"\nclient_secret = \"{SECRET}\"\n\
         grant_types = [\"client_credentials\"]\nscope = \"{scope}\"\n\n"
    )
    .expect("a text takes what is written");
    for number in 0..CONNECTIONS {
        let name = person(number);
        write!(text, "[[account]]\nusername = \"{name}\"\npassword = \"{PASSWORD}\"\n\n")
            .expect("a text takes what is written");
    }
    text
}
