//! The processes of a measurement: the bare endpoints, one authorization server, a resource server for each algorithm.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use auth_server::Settings;
use shared_types::Issuer;
use tempfile::TempDir;
use tests::engine::{MASTER_KEY, Store, write_master_key};
use tests::processes::free_port;

use crate::machine::Process;
use crate::seed::Seeder;
use crate::state::{Alg, declared};

/// A folder with what an authorization server needs at its start, and its store: on `postgres` if there is one, else a file in it.
pub async fn furnish(folder: Option<&Path>, postgres: Option<&str>) -> Result<(TempDir, Store)> {
    let folder = match folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let path = folder.path();
    std::fs::write(path.join("state.toml"), declared())?;
    let store = match postgres {
        Some(server) => {
            write_master_key(path);
            Store::on(server).await
        }
        None => Store::file(path, "auth-server.db"),
    };
    Ok((folder, store))
}

/// Everything that runs.
#[derive(Debug)]
pub struct Stage {
    /// The bare endpoints.
    pub bare: Process,
    /// The authorization server.
    pub auth: Process,
    /// Resource servers by the algorithm of their tokens.
    pub apis: BTreeMap<&'static str, Process>,
    /// The authorization server's store, beside it.
    pub seeder: Seeder,
    /// Its issuer identifier.
    pub issuer: String,
    /// Databases on PostgreSQL go away with it.
    pub stores: Vec<Store>,
    /// The files; gone with it.
    _folder: TempDir,
}

impl Stage {
    /// Starts everything; the rows of every server are in a database of its own: on `postgres` if there is one, else in a file below `folder`.
    pub async fn set(folder: Option<&Path>, postgres: Option<&str>) -> Result<Self> {
        let (folder, store) = furnish(folder, postgres).await?;
        let path = folder.path();
        let addr = free_addr();
        let bare_args = ["bare".to_owned(), addr.to_string()];
        let mut bare = Process::start(&bare_args, path, "bare.log", addr)?;
        bare.until_ready("/hello")?;
        let addr = free_addr();
        let issuer = format!("http://{addr}");
        let auth_args = auth_args(&issuer, addr, path, &store.url);
        let auth = start_auth(&auth_args, path, addr)?;
        let seeder = Seeder::open(settings(&issuer, path, &store)?).await?;
        let (mut apis, mut stores) = (BTreeMap::new(), vec![store]);
        for alg in Alg::ALL {
            let store = match postgres {
                Some(server) => Store::on(server).await,
                None => Store::file(path, &format!("{}.db", api_name(alg))),
            };
            apis.insert(alg.as_str(), start_api(alg, &issuer, path, &store.url)?);
            stores.push(store);
        }
        Ok(Self { bare, auth, apis, seeder, issuer, stores, _folder: folder })
    }
}

/// Where nothing listens yet.
pub fn free_addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}

/// The conditions of all rows: the access log is on, to a file; metrics are on; no TLS. Passwords are hashed as cheaply as the
/// settings allow, since hashes are not what is measured.
pub fn auth_args(issuer: &str, addr: SocketAddr, folder: &Path, database: &str) -> Vec<String> {
    let mut args = owned(&["auth-server", "serve", "--listen", &addr.to_string()]);
    args.extend(owned(&["--issuer", issuer, "--database", database, "--workers", "1"]));
    args.extend(owned(&["--master-key-file", &folder.join(MASTER_KEY).display().to_string()]));
    args.extend(owned(&["--metrics-listen", &free_addr().to_string()]));
    args.extend(owned(&["--apply", &folder.join("state.toml").display().to_string()]));
    args.extend(owned(&["--argon2-memory-kib", "8", "--argon2-iterations", "1"]));
    args.extend(owned(&["--argon2-queue", "1000"]));
    args.extend(owned(&["--http-max-connections-per-address", "20000"]));
    args
}

/// Starts the authorization server and waits for it.
pub fn start_auth(args: &[String], folder: &Path, addr: SocketAddr) -> Result<Process> {
    let mut process = Process::start(args, folder, "auth-server.log", addr)?;
    let metrics = args.iter().skip_while(|arg| *arg != "--metrics-listen").nth(1);
    process.metrics = metrics.and_then(|addr| addr.parse().ok());
    process.until_ready("/readyz")?;
    Ok(process)
}

/// What the files of a resource server are called.
fn api_name(alg: Alg) -> String {
    format!("resource-server-{}", alg.lower())
}

fn start_api(alg: Alg, issuer: &str, folder: &Path, database: &str) -> Result<Process> {
    let (addr, metrics) = (free_addr(), free_addr());
    let mut args = owned(&["resource-server", "serve", "--listen", &addr.to_string()]);
    args.extend(owned(&["--issuer", issuer, "--resource", &alg.resource()]));
    args.extend(owned(&["--database", database, "--workers", "1"]));
    args.extend(owned(&["--metrics-listen", &metrics.to_string()]));
    args.extend(owned(&["--http-max-connections-per-address", "20000"]));
    let mut process = Process::start(&args, folder, &format!("{}.log", api_name(alg)), addr)?;
    process.metrics = Some(metrics);
    process.until_ready("/readyz")?;
    Ok(process)
}

/// The settings of the server beside which the seeder works, as far as it uses them.
pub fn settings(issuer: &str, folder: &Path, store: &Store) -> Result<Settings> {
    let mut settings = Settings::new(Issuer::parse(issuer)?, store.database_url());
    settings.master_key_file = Some(folder.join(MASTER_KEY));
    settings.postgres.connections = 6;
    settings.purge.batch = 500;
    Ok(settings)
}
