//! The settings in force, written out: for people as a settings file, for programs as JSON.

use super::Settings;
use super::keys::KEYS;

/// The settings in force as a settings file that documents itself. Passwords within a database URL are left out.
pub fn to_toml(settings: &Settings) -> String {
    let mut lines = Vec::new();
    let mut current = "";
    for key in KEYS {
        let (group, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if group != current {
            lines.push(format!("\n[{group}]"));
            current = group;
        }
        lines.push(format!("# {}", key.help));
        lines.push(match (key.get)(settings) {
            Some(value) => format!("{name} = {value}"),
            None => format!("# {name} = …"),
        });
    }
    lines.join("\n")
}

/// The same for a program. An absent setting is null.
pub fn to_json(settings: &Settings) -> serde_json::Value {
    let mut root = serde_json::Map::new();
    for key in KEYS {
        let value = serde_json::to_value((key.get)(settings)).unwrap_or_default();
        let Some((group, name)) = key.name.split_once('.') else {
            root.insert(key.name.to_owned(), value);
            continue;
        };
        let group =
            root.entry(group).or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
        if let Some(members) = group.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
    }
    serde_json::Value::Object(root)
}

#[cfg(test)]
mod tests {
    use super::super::keys::Draft;
    use super::super::sources::entries;
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let settings = Settings { drain: 7, ..Settings::default() };
        let printed = to_toml(&settings);
        let mut draft = Draft::default();
        for (name, value) in entries(&printed).unwrap() {
            let key = KEYS.iter().find(|key| key.name == name).unwrap();
            (key.set)(&mut draft, &value).unwrap();
        }
        assert_eq!(to_toml(&draft.settings), printed);
        assert_eq!(draft.settings.drain, 7);
    }

    #[test]
    fn a_password_in_a_database_url_is_not_printed() {
        let settings = Settings {
            database: "postgres://auth:hunter2@db/auth".parse().unwrap(),
            ..Settings::default()
        };
        assert!(!to_toml(&settings).contains("hunter2"));
        assert!(!to_json(&settings).to_string().contains("hunter2"));
    }
}
