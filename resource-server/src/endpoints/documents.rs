//! `/documents`: the sample API, documents of the person or machine that a token acts for. Errors as [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457).
//! Leaves out conditional requests and search.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use shared_types::UnixSeconds;

use super::scopes::{ReadDocuments, WriteDocuments};
use super::{body, document_id, timestamp};
use crate::app::App;
use crate::error::ApiError;
use crate::guard::Granted;
use crate::store::documents::{self, Document, Listed, Place};
use crate::store::owner::Owner;

/// The list.
pub const PATH: &str = "/documents";
/// One document.
pub const ONE: &str = "/documents/{id}";

/// Characters of a title.
pub const MAX_TITLE_CHARS: usize = 200;
/// Bytes of a text.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Bytes of a request: the longest text, every byte of it escaped as JSON may, and room for the rest.
const MAX_REQUEST_BYTES: usize = 6 * MAX_BODY_BYTES + 16 * 1024;
/// Documents of a page when the client asks for no number.
pub const DEFAULT_LIMIT: i64 = 50;
/// Documents of a page at most.
pub const MAX_LIMIT: i64 = 200;

/// `GET /documents`: a page of the owner's documents, newest first.
pub async fn list(
    granted: Granted<ReadDocuments>,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (place, limit) = parse_page(request.query_string())?;
    let owner = Owner::of(granted.claims());
    // One more than asked for tells whether there is a next page.
    let mut found =
        app.database.read(move |sql| documents::page(sql, &owner, &place, limit + 1)).await?;
    let more = i64::try_from(found.len()).is_ok_and(|count| count > limit);
    if more {
        found.pop();
    }
    let next = found.last().filter(|_| more).map(write_cursor);
    let documents: Vec<ListedBody> = found.into_iter().map(ListedBody::from).collect();
    Ok(private(&mut HttpResponse::Ok()).json(PageBody { documents, next }))
}

/// `POST /documents`: stores a new document.
pub async fn create(
    granted: Granted<WriteDocuments>,
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let document = read_document(&app, &request, payload, document_id::fresh()?).await?;
    let (owner, stored) = (Owner::of(granted.claims()), document.clone());
    app.database.write(move |sql| documents::insert(sql, &owner, &stored)).await?;
    let base = app.settings.resource.as_str().trim_end_matches('/');
    let location = format!("{base}{PATH}/{}", document.id);
    Ok(private(&mut HttpResponse::Created())
        .insert_header((LOCATION, location))
        .json(DocumentBody::from(document)))
}

/// `GET /documents/{id}`.
pub async fn get(
    granted: Granted<ReadDocuments>,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (owner, id) = (Owner::of(granted.claims()), document_id::parse(id.into_inner())?);
    let found = app.database.read(move |sql| documents::find(sql, &owner, &id)).await?;
    let document = found.ok_or(ApiError::NotFound)?;
    Ok(private(&mut HttpResponse::Ok()).json(DocumentBody::from(document)))
}

/// `PUT /documents/{id}`: writes over title and text. It creates nothing: ids are ours to give.
pub async fn put(
    granted: Granted<WriteDocuments>,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let document =
        read_document(&app, &request, payload, document_id::parse(id.into_inner())?).await?;
    let (owner, stored) = (Owner::of(granted.claims()), document.clone());
    if !app.database.write(move |sql| documents::update(sql, &owner, &stored)).await? {
        return Err(ApiError::NotFound);
    }
    Ok(private(&mut HttpResponse::Ok()).json(DocumentBody::from(document)))
}

/// `DELETE /documents/{id}`.
pub async fn delete(
    granted: Granted<WriteDocuments>,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (owner, id) = (Owner::of(granted.claims()), document_id::parse(id.into_inner())?);
    if !app.database.write(move |sql| documents::delete(sql, &owner, &id)).await? {
        return Err(ApiError::NotFound);
    }
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Serialize)]
struct PageBody {
    documents: Vec<ListedBody>,
    next: Option<String>,
}

#[derive(Serialize)]
struct ListedBody {
    id: String,
    title: String,
    updated_at: String,
}

impl From<Listed> for ListedBody {
    fn from(listed: Listed) -> Self {
        Self {
            id: listed.id,
            title: listed.title,
            updated_at: timestamp::rfc3339(listed.updated_at),
        }
    }
}

#[derive(Serialize)]
struct DocumentBody {
    id: String,
    title: String,
    body: String,
    updated_at: String,
}

impl From<Document> for DocumentBody {
    fn from(document: Document) -> Self {
        let Document { id, title, body, updated_at } = document;
        Self { id, title, body, updated_at: timestamp::rfc3339(updated_at) }
    }
}

/// What one person sees is for no shared cache.
fn private(response: &mut actix_web::HttpResponseBuilder) -> &mut actix_web::HttpResponseBuilder {
    response.insert_header((CACHE_CONTROL, "no-store"))
}

async fn read_document(
    app: &App,
    request: &HttpRequest,
    payload: Payload,
    id: String,
) -> Result<Document, ApiError> {
    let within = Duration::from_secs(app.settings.http.body_timeout);
    let members =
        body::read_object(request, payload, &app.guard, MAX_REQUEST_BYTES, within).await?;
    let (title, body) = parse_document(members)?;
    Ok(Document { id, title, body, updated_at: app.clock.now() })
}

/// Title and text. Other members are passed over, so that a client can send back what it got.
fn parse_document(mut members: Map<String, Value>) -> Result<(String, String), ApiError> {
    let mut text = |name: &str, fault| match members.remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(ApiError::BadRequest(fault)),
    };
    let title = text("title", "The member title must be a text.")?;
    let body = text("body", "The member body must be a text.")?;
    if title.trim().is_empty()
        || title.chars().count() > MAX_TITLE_CHARS
        || title.contains(char::is_control)
    {
        return Err(ApiError::BadRequest(
            "The title must have 1 to 200 characters, none of them a control character.",
        ));
    }
    // PostgreSQL stores every character but this one.
    if body.contains('\0') {
        return Err(ApiError::BadRequest("The body must not contain U+0000."));
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(ApiError::TooLarge("The body of a document has at most 65,536 bytes."));
    }
    Ok((title, body))
}

/// `limit` and `cursor`, each at most once; other parameters are passed over.
fn parse_page(query: &str) -> Result<(Place, i64), ApiError> {
    let (mut limit, mut cursor) = (None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let slot = match &*name {
            "limit" => &mut limit,
            "cursor" => &mut cursor,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(ApiError::BadRequest("A parameter stands twice."));
        }
    }
    let limit = match limit {
        None => DEFAULT_LIMIT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or(ApiError::BadRequest("The limit must be a number from 1 to 200."))?,
    };
    let place = match cursor {
        None => Place::start(),
        Some(text) => {
            read_cursor(&text).ok_or(ApiError::BadRequest("The cursor is not one of ours."))?
        }
    };
    Ok((place, limit))
}

/// Opaque for clients. It is not secret: it names a place in the caller's own list and opens nobody else's.
fn write_cursor(last: &Listed) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}.{}", last.created_at.as_i64(), last.id))
}

fn read_cursor(text: &str) -> Option<Place> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (created_at, id) = text.split_once('.')?;
    document_id::is_ours(id).then_some(Place {
        created_at: UnixSeconds::new(created_at.parse().ok()?),
        id: id.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::openapi;
    use super::*;

    fn document(title: &str, body: &str) -> Result<(String, String), ApiError> {
        parse_document(json!({"title": title, "body": body}).as_object().unwrap().clone())
    }

    #[test]
    fn sizes_are_limited() {
        assert!(document(&"ä".repeat(200), "").is_ok());
        assert!(document(&"a".repeat(201), "").is_err());
        assert!(document(" ", "").is_err());
        assert!(document("a\nb", "").is_err());
        assert!(document("a", &"b".repeat(MAX_BODY_BYTES)).is_ok());
        assert!(matches!(
            document("a", &"b".repeat(MAX_BODY_BYTES + 1)),
            Err(ApiError::TooLarge(_))
        ));
        assert!(parse_document(json!({"title": "a"}).as_object().unwrap().clone()).is_err());
        assert!(
            parse_document(json!({"title": 1, "body": ""}).as_object().unwrap().clone()).is_err()
        );
    }

    #[test]
    fn the_bounds_of_a_page_are_told() {
        let told = openapi::document("https://api.example", String::new());
        let told = serde_json::to_value(&told).unwrap();
        let limit = &told["paths"][PATH]["get"]["parameters"][0]["schema"];
        assert_eq!((&limit["minimum"], &limit["maximum"]), (&json!(1), &json!(MAX_LIMIT)));
        let page = &told["components"]["schemas"]["DocumentPage"];
        assert_eq!(page["properties"]["next"]["type"], json!(["string", "null"]));
        assert_eq!(page["required"], json!(["documents", "next"]));
    }

    #[test]
    fn pages_have_limits_and_cursors_of_ours() {
        assert_eq!(parse_page("").unwrap(), (Place::start(), 50));
        assert_eq!(parse_page("limit=200&x=1").unwrap().1, 200);
        for bad in [
            "limit=0",
            "limit=201",
            "limit=a",
            "limit=-1",
            "limit=1&limit=2",
            "cursor=x",
            "cursor=",
            "cursor=MS5hYg",
        ] {
            assert!(parse_page(bad).is_err(), "{bad}");
        }
        let id = document_id::fresh().unwrap();
        let (created_at, updated_at) = (UnixSeconds::new(5), UnixSeconds::new(6));
        let cursor =
            write_cursor(&Listed { id: id.clone(), title: String::new(), created_at, updated_at });
        assert_eq!(parse_page(&format!("cursor={cursor}")).unwrap().0, Place { created_at, id });
    }
}
