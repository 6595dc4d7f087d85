//! Just enough HTML to do what a browser does with a form: find it, fill it in, press one of its buttons.

use std::collections::BTreeMap;

/// A start tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its name in lower case.
    pub name: String,
    /// Its attributes by lower-case name, character references resolved; the value of a bare attribute is empty.
    pub attributes: BTreeMap<String, String>,
    /// Where its content begins in the page.
    content: usize,
}

impl Tag {
    /// An attribute, or the empty text.
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// Whether the attribute stands there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }
}

/// The start tags of a page, in order.
pub fn tags(page: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(open) = page[at..].find('<') {
        at += open + 1;
        if page[at..].starts_with("!--") {
            at = page[at..].find("-->").map_or(page.len(), |end| at + end + 3);
        } else if page[at..].starts_with(|c: char| c.is_ascii_alphabetic()) {
            let tag = read_tag(page, at);
            at = tag.content;
            if matches!(tag.name.as_str(), "script" | "style") {
                let close = format!("</{}", tag.name);
                at = page[at..].find(&close).map_or(page.len(), |end| at + end);
            }
            tags.push(tag);
        }
    }
    tags
}

fn read_tag(page: &str, start: usize) -> Tag {
    let ends = |c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/' | '=');
    let rest = &page[start..];
    let name_len = rest.find(ends).unwrap_or(rest.len());
    let mut attributes = BTreeMap::new();
    let mut at = name_len;
    loop {
        at += rest[at..].len()
            - rest[at..].trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/').len();
        if rest[at..].starts_with('>') || at >= rest.len() {
            break;
        }
        let len = rest[at..].find(ends).unwrap_or(rest.len() - at).max(1);
        let name = rest[at..at + len].to_ascii_lowercase();
        at += len;
        let mut value = "";
        if let Some(after) = rest[at..].strip_prefix('=') {
            let (text, used) = if let Some(quote @ ('"' | '\'')) = after.chars().next() {
                let len = after[1..].find(quote).unwrap_or(after.len() - 1);
                (&after[1..=len], len + 2)
            } else {
                let len = after.find(|c: char| c.is_ascii_whitespace() || c == '>');
                let len = len.unwrap_or(after.len());
                (&after[..len], len)
            };
            value = text;
            at = (at + 1 + used).min(rest.len());
        }
        attributes.entry(name).or_insert_with(|| unescape(value));
    }
    Tag {
        name: rest[..name_len].to_ascii_lowercase(),
        attributes,
        content: (start + at + 1).min(page.len()),
    }
}

/// Resolves the character references that escaping for HTML makes.
pub fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(';').unwrap_or(0);
        let name = if end > 0 { &rest[1..end] } else { "" };
        let number = name
            .strip_prefix("#x")
            .map(|hex| u32::from_str_radix(hex, 16).ok())
            .or_else(|| name.strip_prefix('#').map(|decimal| decimal.parse().ok()))
            .flatten();
        let character = match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => number.and_then(char::from_u32),
        };
        if let Some(character) = character {
            out.push(character);
            rest = &rest[end + 1..];
        } else {
            out.push('&');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

/// A form with what a browser would send if its button were pressed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Where it goes, as it stands in the page; empty means to the page itself.
    pub action: String,
    /// `get` or `post`.
    pub method: String,
    /// Names and values in order: hidden fields, prefilled fields, ticked boxes.
    pub fields: Vec<(String, String)>,
    buttons: Vec<Tag>,
}

impl Form {
    /// The form with that `id`.
    pub fn find(page: &str, id: &str) -> Option<Self> {
        let tags = tags(page);
        let start = tags.iter().position(|tag| tag.name == "form" && tag.get("id") == id)?;
        let form = &tags[start];
        let end = page[form.content..].find("</form").map_or(page.len(), |end| form.content + end);
        let inside = tags[start + 1..].iter().take_while(|tag| tag.content <= end);
        let outside = tags.iter().filter(|tag| tag.get("form") == id);
        let mut found = Self {
            action: form.get("action").to_owned(),
            method: form.get("method").to_ascii_lowercase(),
            fields: Vec::new(),
            buttons: Vec::new(),
        };
        for tag in inside.chain(outside) {
            found.take(tag);
        }
        Some(found)
    }

    fn take(&mut self, tag: &Tag) {
        let kind = tag.get("type");
        match (tag.name.as_str(), kind) {
            ("button", _) | ("input", "submit") => self.buttons.push(tag.clone()),
            ("input", "checkbox" | "radio") if !tag.has("checked") => {}
            ("input", _) if tag.has("name") && !tag.has("disabled") => {
                let value = if tag.has("value") || !matches!(kind, "checkbox" | "radio") {
                    tag.get("value")
                } else {
                    "on"
                };
                self.fields.push((tag.get("name").to_owned(), value.to_owned()));
            }
            _ => {}
        }
    }

    /// With a field filled in.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some(field) => value.clone_into(&mut field.1),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Without a field: what a tampered page sends.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    /// With the button of that `id` pressed: its name and value go along, its `formaction` wins.
    #[must_use]
    pub fn press(mut self, id: &str) -> Self {
        let button = self
            .buttons
            .iter()
            .find(|button| button.get("id") == id)
            .unwrap_or_else(|| panic!("the form has no button {id}"))
            .clone();
        if button.has("name") {
            self = self.set(button.get("name"), button.get("value"));
        }
        if button.has("formaction") {
            button.get("formaction").clone_into(&mut self.action);
        }
        self
    }

    /// The value of a field, or the empty text.
    pub fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<!doctype html><!-- <form id="x"> --><style>a<b{}</style>
        <form id="x" method="POST" action="/login?a=1&amp;b=&#x27;2&#39;"><input type=hidden name=csrf value="t&quot;">
        <input id="username" name="username" value='alice' required><input type="checkbox" name="keep">
        <input type="checkbox" name="ticked" checked>
        <button id="ok" name="do" value="go">Go</button><button id="no" formaction="/stop">Stop</button></form>
        <form id="y"><input name="other"></form>"#;

    #[test]
    fn a_form_is_read_as_a_browser_reads_it() {
        let form = Form::find(PAGE, "x").unwrap();
        assert_eq!(form.action, "/login?a=1&b='2'");
        assert_eq!(form.method, "post");
        let names: Vec<&str> = form.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["csrf", "username", "ticked"]);
        assert_eq!((form.get("csrf"), form.get("ticked")), ("t\"", "on"));
        assert_eq!(Form::find(PAGE, "z"), None);
    }

    #[test]
    fn a_pressed_button_sends_itself() {
        let form = Form::find(PAGE, "x").unwrap();
        assert_eq!(form.clone().press("ok").get("do"), "go");
        assert_eq!(form.press("no").action, "/stop");
    }

    #[test]
    fn text_that_only_looks_like_a_reference_stays() {
        assert_eq!(unescape("a & b &unknown; &amp;lt; &#9;"), "a & b &unknown; &lt; \t");
    }
}
