//! `auth-server account …`: people who sign in. Works beside a running server, which sees the effect at once.

use std::io::{IsTerminal as _, Read};

use clap::Subcommand;
use database::Sql;
use serde_json::{Map, Value, json};
use shared_types::Subject;

use super::output::{self, Shown};
use super::{CliError, Workbench};
use crate::domain::account::{Account, NewAccount, check_claims, check_username};
use crate::domain::password::{self, MAX_PASSWORD_BYTES, PasswordHasher};
use crate::domain::row_id::{RowId, RowIds};
use crate::domain::secret::PlainSecret;
use crate::store::{StoreError, accounts};

/// How many rows one read of `list` fetches.
const PAGE: i64 = 500;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

impl Args {
    /// Whether the command may begin with a database that does not exist yet.
    pub fn may_begin(&self) -> bool {
        matches!(self.command, Command::Add(_))
    }

    /// Checks what can be checked without a database, the password on standard input too: a fault leaves no trace, no new database either.
    pub fn checked(mut self) -> Result<Self, CliError> {
        if let Command::Add(add) = &mut self.command {
            let name = check_username(&add.username).map_err(|fault| fault.to_string());
            let password = given_password(add.generate);
            let mut faults: Vec<String> = name.err().into_iter().collect();
            match password {
                Ok(password) => add.password = password,
                Err(CliError::Faults(more)) => faults.extend(more),
                Err(other) => return Err(other),
            }
            if !faults.is_empty() {
                return Err(CliError::Faults(faults));
            }
        }
        Ok(self)
    }
}

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a person; the password is one line on standard input, or generated and shown once when there is none
    Add(Add),
    /// List all people
    List,
    /// Let a disabled person sign in again (old sessions and grants stay ended)
    Enable(Which),
    /// Refuse sign-in and end all sessions and grants
    Disable(Which),
    /// Set a password (as in add) and end all sessions and grants
    SetPassword(SetPassword),
    /// End all sessions, and with them the grants without `offline_access`
    SignOut(Which),
    /// Delete the person's name, password, claims and consents; the subject is never used again
    Delete(Which),
}

/// Names a person.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The user name (in any case of letters) or the subject, `acct_…`
    account: String,
}

/// A new person.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// The user name
    username: String,
    /// Standard claims of OpenID Connect as a JSON object, as in '{"name":"Alice","email":"alice@example.com"}'
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = claims)]
    claims: Claims,
    /// Generate the password without looking at standard input
    #[arg(long)]
    generate: bool,
    // What `checked` found on standard input; `None`: one is generated.
    #[arg(skip)]
    password: Option<PlainSecret>,
}

/// A new password.
#[derive(Debug, clap::Args)]
pub struct SetPassword {
    /// The user name (in any case of letters) or the subject, `acct_…`
    account: String,
    /// Generate the password without looking at standard input
    #[arg(long)]
    generate: bool,
}

/// Checked claims; a type of their own, so that clap does not take a map for a list of values.
#[derive(Clone, Debug)]
struct Claims(Map<String, Value>);

fn claims(text: &str) -> Result<Claims, String> {
    let claims =
        shared_types::json::parse_object(text.as_bytes()).map_err(|fault| fault.to_string())?;
    check_claims(&claims).map_err(|fault| fault.to_string())?;
    Ok(Claims(claims))
}

/// Runs the command.
pub async fn run(bench: &Workbench, args: Args) -> Result<(), CliError> {
    let as_json = args.json;
    match args.command {
        Command::Add(add) => register(bench, add, as_json).await,
        Command::List => list(bench, as_json).await,
        Command::SetPassword(set) => set_password(bench, set, as_json).await,
        Command::Enable(which) => {
            act(bench, which.account, "enabled", as_json, |sql, id| {
                accounts::set_enabled(sql, id, true).map(drop)
            })
            .await
        }
        Command::Disable(which) => {
            act(bench, which.account, "disabled", as_json, |sql, id| {
                accounts::set_enabled(sql, id, false).map(drop)
            })
            .await
        }
        Command::SignOut(which) => {
            let now = bench.clock.now();
            let sign_out =
                move |sql: &mut dyn Sql, id| accounts::sign_out_everywhere(sql, id, now).map(drop);
            act(bench, which.account, "signed out", as_json, sign_out).await
        }
        Command::Delete(which) => {
            act(bench, which.account, "deleted", as_json, |sql, id| {
                accounts::delete(sql, id).map(drop)
            })
            .await
        }
    }
}

async fn register(bench: &Workbench, add: Add, as_json: bool) -> Result<(), CliError> {
    let taken = || CliError::Failed(format!("there is an account {} already", add.username));
    // Before a password is generated: a file with the password of a person that exists would be overwritten otherwise.
    if find(bench, add.username.clone()).await?.is_some() {
        return Err(taken());
    }
    let (password, generated) = or_generated(bench, add.password);
    let hash = hash(bench, password.clone()).await?;
    let new = NewAccount::new(
        add.username.clone(),
        add.claims.0,
        hash,
        bench.clock.now(),
        &*bench.random,
    );
    let subject = new.subject.clone();
    let ids = RowIds::default().fresh(bench.clock.now_millis(), &*bench.random);
    let inserted: Option<RowId> =
        bench.database.write(move |sql| accounts::insert(sql, &ids, &new)).await?;
    if inserted.is_none() {
        return Err(taken());
    }
    let shown = show(bench, &add.username, &password, generated)?;
    report(&add.username, &subject, "added", shown.as_ref(), as_json)
}

async fn set_password(bench: &Workbench, set: SetPassword, as_json: bool) -> Result<(), CliError> {
    let account = find(bench, set.account.clone()).await?.ok_or_else(|| unknown(&set.account))?;
    let (password, generated) = or_generated(bench, given_password(set.generate)?);
    let hash = hash(bench, password.clone()).await?;
    let id = account.id;
    if !bench.database.write(move |sql| accounts::set_password(sql, id, &hash)).await? {
        return Err(unknown(&set.account));
    }
    let shown = show(bench, &account.username, &password, generated)?;
    report(&account.username, &account.subject, "password set", shown.as_ref(), as_json)
}

async fn list(bench: &Workbench, as_json: bool) -> Result<(), CliError> {
    let (mut documents, mut after) = (Vec::new(), None);
    loop {
        let page: Vec<Account> =
            bench.database.read(move |sql| accounts::list(sql, after, PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for account in &page {
            if as_json {
                documents.push(document(account));
            } else {
                let state = if account.enabled { "enabled" } else { "disabled" };
                output::line(format_args!("{}\t{state}\t{}", account.subject, account.username))?;
            }
        }
    }
    if as_json { output::json(&Value::Array(documents)) } else { Ok(()) }
}

async fn act(
    bench: &Workbench,
    named: String,
    done: &str,
    as_json: bool,
    change: impl Fn(&mut dyn Sql, RowId) -> Result<(), StoreError> + Send + 'static,
) -> Result<(), CliError> {
    let name = named.clone();
    let found: Option<Account> = bench
        .database
        .write(move |sql| {
            let account = find_in(sql, &name)?;
            account.iter().try_for_each(|account| change(sql, account.id))?;
            Ok::<_, StoreError>(account)
        })
        .await?;
    let account = found.ok_or_else(|| unknown(&named))?;
    report(&account.username, &account.subject, done, None, as_json)
}

async fn find(bench: &Workbench, named: String) -> Result<Option<Account>, CliError> {
    Ok(bench.database.read(move |sql| find_in(sql, &named)).await?)
}

fn find_in(sql: &mut dyn Sql, named: &str) -> Result<Option<Account>, StoreError> {
    if let Some(account) = accounts::find_by_username(sql, named)? {
        return Ok(Some(account));
    }
    Subject::parse(named).map_or(Ok(None), |subject| accounts::find_by_subject(sql, &subject))
}

/// The password on standard input, checked; `None` where one is to be generated. A terminal is not read: it would show the password.
fn given_password(generate: bool) -> Result<Option<PlainSecret>, CliError> {
    if generate || std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let given = read_password(std::io::stdin())?;
    given.as_ref().map(password::check_password).transpose().map_err(fault)?;
    Ok(given)
}

/// The password, and whether it was generated.
fn or_generated(bench: &Workbench, given: Option<PlainSecret>) -> (PlainSecret, bool) {
    let generated = given.is_none();
    (given.unwrap_or_else(|| password::generate(&*bench.random)), generated)
}

/// The one line of `input` without its end; `None` when there is nothing.
fn read_password(input: impl Read) -> Result<Option<PlainSecret>, CliError> {
    let mut text = String::new();
    // Two bytes for the end of the line, one to notice that there is too much.
    let limit = u64::try_from(MAX_PASSWORD_BYTES + 3).unwrap_or(u64::MAX);
    input
        .take(limit)
        .read_to_string(&mut text)
        .map_err(|error| CliError::Failed(format!("standard input cannot be read: {error}")))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains(['\n', '\r']) {
        return Err(fault("standard input has more than one line"));
    }
    Ok((!line.is_empty()).then(|| PlainSecret::new(line)))
}

async fn hash(bench: &Workbench, password: PlainSecret) -> Result<String, CliError> {
    let hasher = PasswordHasher::new(&bench.settings.argon2);
    let salt = crate::random::bytes(&*bench.random);
    Ok(hasher.hash(password, salt).await.map_err(StoreError::from)?)
}

fn show(
    bench: &Workbench,
    username: &str,
    password: &PlainSecret,
    generated: bool,
) -> Result<Option<Shown>, CliError> {
    if !generated {
        return Ok(None);
    }
    output::show_once(&bench.settings, output::PASSWORD, username, password).map(Some)
}

fn unknown(named: &str) -> CliError {
    CliError::Failed(format!("there is no account {named}"))
}

fn fault(fault: impl std::fmt::Display) -> CliError {
    CliError::Faults(vec![fault.to_string()])
}

fn document(account: &Account) -> Value {
    json!({
        "sub": account.subject,
        "username": account.username,
        "enabled": account.enabled,
        "created_at": account.created_at,
        "claims": account.claims,
    })
}

fn report(
    username: &str,
    subject: &Subject,
    done: &str,
    password: Option<&Shown>,
    as_json: bool,
) -> Result<(), CliError> {
    let mut text = format!("account {username} ({subject}): {done}");
    if as_json {
        let mut value = json!({ "username": username, "sub": subject, "done": done });
        if let (Some(members), Some(shown)) = (value.as_object_mut(), password) {
            members.extend([shown.members(output::PASSWORD)]);
        }
        text = format!("{value:#}");
    } else if let Some(shown) = password {
        text = format!("{text}\n{}", shown.sentence(output::PASSWORD));
    }
    output::line_with(password.map(|shown| (output::PASSWORD, username, shown)), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> Result<Option<String>, u8> {
        read_password(input.as_bytes())
            .map(|password| password.map(|password| password.expose().to_owned()))
            .map_err(|error| error.status())
    }

    #[test]
    fn a_password_is_one_line_with_or_without_its_end() {
        for input in ["correct horse", "correct horse\n", "correct horse\r\n"] {
            assert_eq!(read(input), Ok(Some("correct horse".into())), "{input:?}");
        }
        assert_eq!(read(" blanks stay \n"), Ok(Some(" blanks stay ".into())));
        assert_eq!(read("two\nlines\n"), Err(2));
    }

    #[test]
    fn nothing_on_standard_input_means_generate_one() {
        for input in ["", "\n", "\r\n"] {
            assert_eq!(read(input), Ok(None), "{input:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_cut_to_fit() {
        let endless = "x".repeat(100_000);
        let taken = read_password(endless.as_bytes()).unwrap().unwrap();
        assert_eq!(password::check_password(&taken), Err(password::PasswordFault::TooLong));
    }

    #[test]
    fn claims_are_checked_before_anything_is_asked_of_the_database() {
        assert!(claims(r#"{"name":"Alice"}"#).is_ok());
        for bad in ["", "[]", r#"{"name":1}"#, r#"{"name":"a","name":"b"}"#, r#"{"role":"admin"}"#]
        {
            assert!(claims(bad).is_err(), "{bad}");
        }
    }
}
