//! Both servers as processes of their own, on fresh databases in a folder that goes with the tour.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{Args, oauth, story};

/// Where everything is, and the secrets that the tour made up for it.
#[derive(Clone)]
pub struct Plan {
    /// The authorization server's issuer.
    pub issuer: String,
    /// The resource server's identifier and base URL.
    pub resource: String,
    /// The web client's base URL.
    pub client: String,
    /// The web client's port.
    pub client_port: u16,
    /// The secret of `demo-web`.
    pub web_secret: String,
    /// The secret of `demo-machine`.
    pub machine_secret: String,
    /// Alice's password.
    pub password: String,
}

/// Two running servers.
pub struct House {
    /// Where they are.
    pub plan: Plan,
    servers: Vec<Child>,
    _folder: TempDir,
}

impl House {
    /// Declares the state, starts both servers and waits until they are ready.
    pub async fn open(args: &Args) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no folder for the databases")?;
        let plan = plan(args)?;
        let state = folder.path().join("state.toml");
        std::fs::write(&state, declared_state(&plan))
            .context("the declared state cannot be written")?;

        story::line(
            "The house opens: two independent servers, each with a fresh database of its own.",
        );
        let auth_server = start(
            "auth-server",
            &[
                ("--listen", format!("127.0.0.1:{}", port_of(&plan.issuer)?)),
                ("--issuer", plan.issuer.clone()),
                ("--database", database(folder.path(), "auth-server.db")),
                ("--apply", state.display().to_string()),
                ("--metrics-listen", "off".into()),
            ],
        )?;
        let resource_server = start(
            "resource-server",
            &[
                ("--listen", format!("127.0.0.1:{}", port_of(&plan.resource)?)),
                ("--resource", plan.resource.clone()),
                ("--issuer", plan.issuer.clone()),
                ("--database", database(folder.path(), "resource-server.db")),
                ("--metrics-listen", "off".into()),
            ],
        )?;
        let mut house = Self { plan, servers: vec![auth_server, resource_server], _folder: folder };
        house.wait_until_ready().await?;
        story::say(&format!("authorization server (the concierge)  {}", house.plan.issuer));
        story::say(&format!("resource server (the house)           {}", house.plan.resource));
        Ok(house)
    }

    /// Asks `/readyz` of both until they say yes. A server that ends, or is not ready within 30 s, ends the tour.
    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let http = oauth::http_client()?;
        let deadline = tokio::time::sleep(Duration::from_secs(30));
        tokio::pin!(deadline);
        for (url, server) in
            [&self.plan.issuer, &self.plan.resource].into_iter().zip(&mut self.servers)
        {
            let mut pause = tokio::time::interval(Duration::from_millis(20));
            while !http
                .get(format!("{url}/readyz"))
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                tokio::select! {
                    _ = pause.tick() => {}
                    () = &mut deadline => bail!("{url} is not ready after 30 seconds"),
                    status = server.wait() => bail!("the server at {url} ended: {}", status?),
                }
            }
        }
        Ok(())
    }

    /// Asks both servers to stop, and waits for them.
    pub async fn close(&mut self) {
        for server in &mut self.servers {
            // The terminal has told them already when a person pressed Ctrl-C; a second request does no harm.
            if let Some(pid) = server.id() {
                let asked = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
                if asked.is_err() {
                    story::say("a server could not be asked to stop, it is ended");
                }
            }
            let stopped = tokio::time::timeout(Duration::from_secs(12), server.wait()).await;
            if stopped.is_err()
                && let Err(error) = server.kill().await
            {
                story::say(&format!("a server could not be ended: {error}"));
            }
        }
    }
}

fn plan(args: &Args) -> anyhow::Result<Plan> {
    let (auth, resource, client) = (
        free_port(args.auth_server_port)?,
        free_port(args.resource_server_port)?,
        free_port(args.port)?,
    );
    Ok(Plan {
        issuer: format!("http://localhost:{auth}"),
        resource: format!("http://localhost:{resource}"),
        client: format!("http://127.0.0.1:{client}"),
        client_port: client,
        web_secret: secret(32)?,
        machine_secret: secret(32)?,
        password: secret(12)?,
    })
}

/// `wanted` if nobody listens there, else any free port, and the tour says so.
fn free_port(wanted: u16) -> anyhow::Result<u16> {
    let port = |port| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .and_then(|listener| listener.local_addr())
            .map(|addr| addr.port())
    };
    if let Ok(port) = port(wanted) {
        return Ok(port);
    }
    let other = port(0).context("no free port")?;
    story::line(&format!("Port {wanted} is taken, {other} is used instead."));
    Ok(other)
}

fn port_of(url: &str) -> anyhow::Result<u16> {
    url::Url::parse(url)?.port().context("a URL of the tour has no port")
}

fn database(folder: &Path, name: &str) -> String {
    format!("sqlite:{}", folder.join(name).display())
}

fn secret(bytes: usize) -> anyhow::Result<String> {
    let mut random = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut random).ok().context("no randomness")?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

fn start(server: &str, flags: &[(&str, String)]) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("the program does not know itself")?;
    let mut command = Command::new(program);
    command.arg(server).arg("serve");
    for (flag, value) in flags {
        command.arg(flag).arg(value);
    }
    // Errors only: the tour tells the rest in its own words.
    command.args(["--log", "error"]).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command.spawn().with_context(|| format!("{server} does not start"))
}

/// The state that the authorization server is given, as an operator would write it.
fn declared_state(plan: &Plan) -> String {
    let Plan { resource, client, web_secret, machine_secret, password, .. } = plan;
    format!(
        r#"[[api]]
identifier = "{resource}"
name = "Documents"
scopes = {{ "documents:read" = "Read your documents", "documents:write" = "Create and change your documents", "documents:share" = "Share your documents" }}
default = true

[[client]]
client_id = "demo-web"
client_name = "Demo"
redirect_uris = ["{client}/callback"]
post_logout_redirect_uris = ["{client}/"]
grant_types = ["authorization_code", "refresh_token"]
client_secret = "{web_secret}"
scope = "openid profile email offline_access documents:read documents:write documents:share"

[[client]]
client_id = "demo-machine"
client_name = "Nightly report"
grant_types = ["client_credentials"]
client_secret = "{machine_secret}"
scope = "documents:read documents:write"

[[account]]
username = "alice"
password = "{password}"
claims = {{ name = "Alice Example", email = "alice@example.com", email_verified = true }}
"#
    )
}
