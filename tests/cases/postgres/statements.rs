//! Every statement of both stores, prepared by PostgreSQL: it wants to know the type of each parameter, which SQLite does not.

use database::{Database, Options};
use tests::engine::{Store, server_or_skip};
use tokio_postgres::NoTls;
use tokio_postgres::types::Type;

/// The whole statements that stand as literals in a source; those that macros put together are run by other cases.
fn statements(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    let literals = code.split('"').skip(1).step_by(2);
    literals
        .filter(|text| {
            ["SELECT ", "INSERT ", "UPDATE ", "DELETE "].iter().any(|verb| text.starts_with(verb))
        })
        // A backslash at a line's end joins it with the next one.
        .map(|text| text.replace("\\\n", " ").replace('?', "$"))
        .collect()
}

/// The sources of a store, tests left out.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !path.ends_with("tests.rs")
            {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

#[tokio::test]
async fn postgres_understands_every_statement_of_both_stores() {
    let Some(server) = server_or_skip("postgres_understands_every_statement") else { return };
    for (folder, migrations, least) in [
        ("auth-server/src/store", auth_server::store::MIGRATIONS, 40),
        ("resource-server/src/store", resource_server::store::MIGRATIONS, 6),
    ] {
        let store = Store::on(&server).await;
        let database = Database::open(&store.database_url(), &Options::default()).await.unwrap();
        database.migrate(migrations).await.unwrap();
        database.close().await;
        let (client, connection) = tokio_postgres::connect(&store.url, NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let (mut faults, mut count) = (Vec::new(), 0);
        for (path, source) in sources(folder) {
            for sql in statements(&source)
                .into_iter()
                .filter(|sql| !sql.ends_with(' ') && !sql.ends_with("AND "))
            {
                count += 1;
                match client.prepare(&sql).await {
                    Ok(statement) => {
                        let odd = statement
                            .params()
                            .iter()
                            .find(|wanted| ![Type::INT8, Type::TEXT, Type::BYTEA].contains(wanted));
                        faults.extend(
                            odd.map(|wanted| format!("{path}: {sql}: a parameter is {wanted}")),
                        );
                    }
                    Err(error) => faults.push(format!("{path}: {sql}: {error:?}")),
                }
            }
        }
        drop(client);
        driver.await.unwrap().unwrap();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert!(count >= least, "only {count} statements are found in {folder}");
    }
}
