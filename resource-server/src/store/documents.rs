//! Documents, each of one owner. Every statement names the owner, so that no handler can forget to.

use database::{Row, Sql, Value};
use shared_types::UnixSeconds;

use super::StoreError;
use super::owner::Owner;

const INSERT: &str =
    "INSERT INTO document (id, owner_iss, owner_sub, title, body, created_at, updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)";
const PAGE: &str = "SELECT id, title, created_at, updated_at FROM document
    WHERE owner_iss = ?1 AND owner_sub = ?2 AND (created_at, id) < (?3, ?4)
    ORDER BY created_at DESC, id DESC LIMIT ?5";
const FIND: &str = "SELECT id, title, body, updated_at FROM document
    WHERE id = ?1 AND owner_iss = ?2 AND owner_sub = ?3";
const UPDATE: &str = "UPDATE document SET title = ?4, body = ?5, updated_at = ?6
    WHERE id = ?1 AND owner_iss = ?2 AND owner_sub = ?3";
const DELETE: &str = "DELETE FROM document WHERE id = ?1 AND owner_iss = ?2 AND owner_sub = ?3";

/// A whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its opaque name: 128 random bits.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// When it was last written.
    pub updated_at: UnixSeconds,
}

/// A document in a list, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its opaque name.
    pub id: String,
    /// Its title.
    pub title: String,
    /// When it was made: its place in the list.
    pub created_at: UnixSeconds,
    /// When it was last written.
    pub updated_at: UnixSeconds,
}

/// A place in an owner's list, newest first: what comes after it is older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// When the last document of the page before was made.
    pub created_at: UnixSeconds,
    /// Its id, which orders documents of one second.
    pub id: String,
}

impl Place {
    /// Before the newest.
    pub fn start() -> Self {
        Self { created_at: UnixSeconds::new(i64::MAX), id: String::new() }
    }
}

/// Stores a new document; its id is fresh, so no two units can meet.
pub fn insert(sql: &mut dyn Sql, owner: &Owner, document: &Document) -> Result<(), StoreError> {
    let Document { id, title, body, updated_at } = document;
    let params = [
        id.into(),
        (&owner.iss).into(),
        (&owner.sub).into(),
        title.into(),
        body.into(),
        time(*updated_at),
    ];
    sql.execute(INSERT, &params)?;
    Ok(())
}

/// At most `limit` documents after `place`. A document made meanwhile is on no later page; none is seen twice.
pub fn page(
    sql: &mut dyn Sql,
    owner: &Owner,
    place: &Place,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let params = [
        (&owner.iss).into(),
        (&owner.sub).into(),
        time(place.created_at),
        (&place.id).into(),
        limit.into(),
    ];
    let rows = sql.query(PAGE, &params)?;
    rows.iter()
        .map(|row| {
            Ok(Listed {
                id: row.text(0)?,
                title: row.text(1)?,
                created_at: UnixSeconds::new(row.int(2)?),
                updated_at: UnixSeconds::new(row.int(3)?),
            })
        })
        .collect()
}

/// The owner's document of that id; another owner's is not there. A read of one snapshot.
pub fn find(sql: &mut dyn Sql, owner: &Owner, id: &str) -> Result<Option<Document>, StoreError> {
    let rows = sql.query(FIND, &key(owner, id))?;
    rows.first().map(read).transpose()
}

/// Writes over title and body. One guarded statement: of two writers the later one wins whole. `false`: no such document.
pub fn update(sql: &mut dyn Sql, owner: &Owner, document: &Document) -> Result<bool, StoreError> {
    let mut params = key(owner, &document.id).to_vec();
    params.extend([(&document.title).into(), (&document.body).into(), time(document.updated_at)]);
    Ok(sql.execute(UPDATE, &params)? == 1)
}

/// Removes the document. One guarded statement: of two removers one gets `true`.
pub fn delete(sql: &mut dyn Sql, owner: &Owner, id: &str) -> Result<bool, StoreError> {
    Ok(sql.execute(DELETE, &key(owner, id))? == 1)
}

fn key(owner: &Owner, id: &str) -> [Value; 3] {
    [id.into(), (&owner.iss).into(), (&owner.sub).into()]
}

fn time(at: UnixSeconds) -> Value {
    at.as_i64().into()
}

fn read(row: &Row) -> Result<Document, StoreError> {
    Ok(Document {
        id: row.text(0)?,
        title: row.text(1)?,
        body: row.text(2)?,
        updated_at: UnixSeconds::new(row.int(3)?),
    })
}

#[cfg(test)]
mod tests {
    use database::{Database, DatabaseUrl, Options};

    use super::super::MIGRATIONS;
    use super::*;

    async fn open(folder: &tempfile::TempDir) -> Database {
        let url = DatabaseUrl::Sqlite(folder.path().join("test.db"));
        let database = Database::open(&url, &Options::default()).await.unwrap();
        database.migrate(MIGRATIONS).await.unwrap();
        database
    }

    fn owner(iss: &str, sub: &str) -> Owner {
        Owner { iss: iss.into(), sub: sub.into() }
    }

    fn document(number: u128, at: i64) -> Document {
        let id = format!("{number:032x}");
        Document { id, title: "t".into(), body: "b".into(), updated_at: UnixSeconds::new(at) }
    }

    #[tokio::test]
    async fn a_document_is_there_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder).await;
        let outcome = database.write(|sql| {
            let alice = owner("https://id.example", "acct_1");
            let stored = document(7, 1);
            insert(sql, &alice, &stored)?;
            for other in
                [owner("https://id.example", "acct_2"), owner("https://other.example", "acct_1")]
            {
                assert_eq!(find(sql, &other, &stored.id)?, None);
                assert!(page(sql, &other, &Place::start(), 10)?.is_empty());
                assert!(!update(sql, &other, &stored)?);
                assert!(!delete(sql, &other, &stored.id)?);
            }
            assert_eq!(find(sql, &alice, &stored.id)?, Some(stored.clone()));
            assert!(update(sql, &alice, &Document { title: "new".into(), ..stored.clone() })?);
            assert!(delete(sql, &alice, &stored.id)?);
            assert!(!delete(sql, &alice, &stored.id)?);
            Ok::<_, StoreError>(())
        });
        outcome.await.unwrap();
    }

    #[tokio::test]
    async fn pages_neither_repeat_nor_skip_documents_of_one_second() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder).await;
        let ids = database.write(|sql| {
            let alice = owner("https://id.example", "acct_1");
            for number in 0..7 {
                insert(sql, &alice, &document(number, 100))?;
            }
            insert(sql, &alice, &document(7, 101))?;
            let (mut place, mut ids) = (Place::start(), Vec::new());
            loop {
                let listed = page(sql, &alice, &place, 3)?;
                ids.extend(listed.iter().map(|listed| listed.id.clone()));
                let Some(last) = listed.into_iter().last() else { return Ok::<_, StoreError>(ids) };
                place = Place { created_at: last.created_at, id: last.id };
            }
        });
        let ids = ids.await.unwrap();
        let expected: Vec<String> = (0..8).rev().map(|number| document(number, 0).id).collect();
        assert_eq!(ids, expected);
    }
}
