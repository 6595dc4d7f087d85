//! The master key: 32 random bytes in a file that never enters the database or a backup.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use database::Database;

use super::sealing::SealingKey;
use super::vault::{self, VaultFault};
use crate::random::{self, OsRandom};

/// The key that the vault's keys are sealed under.
pub struct MasterKey(SealingKey);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

impl MasterKey {
    /// Reads the file: one line of base64.
    pub fn read(path: &Path) -> Result<Self, VaultFault> {
        let text = fs::read_to_string(path).map_err(|error| VaultFault::File(name(path), error))?;
        warn_if_others_may_read(path);
        Self::from_text(&text).ok_or_else(|| VaultFault::Malformed(name(path)))
    }

    /// Makes a key and its file, readable by its owner only. The file appears whole or not at all, and none is ever replaced.
    pub fn create(path: &Path) -> Result<Self, VaultFault> {
        let bytes: [u8; 32] = random::bytes(&OsRandom);
        write_new(path, &URL_SAFE_NO_PAD.encode(bytes))
            .map_err(|error| VaultFault::File(name(path), error))?;
        Ok(Self(SealingKey::new(&bytes)))
    }

    /// Reads the file; makes it if it is absent while the database holds nothing sealed. Otherwise an absent key is a fault: a new one
    /// would not unseal what is stored.
    pub async fn find(path: &Path, database: &Database) -> Result<Self, VaultFault> {
        match Self::read(path) {
            Err(VaultFault::File(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        if !vault::holds_nothing(database).await? {
            return Err(VaultFault::Missing(name(path)));
        }
        match Self::create(path) {
            // Another instance was quicker: its key is the one.
            Err(VaultFault::File(_, error)) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::read(path)
            }
            Ok(created) => {
                log::info!(path = name(path).as_str(); "master key created; keep a copy apart from the database's backups");
                Ok(created)
            }
            Err(fault) => Err(fault),
        }
    }

    #[cfg(test)]
    pub(super) fn of_bytes(bytes: &[u8; 32]) -> Self {
        Self(SealingKey::new(bytes))
    }

    pub(super) fn sealing_key(&self) -> &SealingKey {
        &self.0
    }

    /// Both alphabets, padded or not: people make such a file with the tool that is at hand.
    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(SealingKey::new(&bytes.try_into().ok()?)))
    }
}

/// Writes beside `path`, then links: a link, unlike a rename, fails when the name is taken.
fn write_new(path: &Path, line: &str) -> io::Result<()> {
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mark = URL_SAFE_NO_PAD.encode(random::bytes::<9>(&OsRandom));
    let draft = parent.join(format!(".master-key-{mark}"));
    let written = write_private(&draft, line).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    written?;
    removed?;
    // The new name itself must survive a power cut: secrets are sealed under it from now on.
    fs::File::open(parent)?.sync_all()
}

fn write_private(path: &Path, line: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{line}")?;
    file.sync_all()
}

/// A warning only: secrets mounted by an orchestrator are often readable by all inside their container.
fn warn_if_others_may_read(path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(path)
        && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
    {
        log::warn!(path = name(path).as_str(); "the master key file can be read by others than its owner");
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_key_is_private_and_reads_back_as_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let created = MasterKey::create(&path).unwrap();
        let read = MasterKey::read(&path).unwrap();
        let sealed = created.sealing_key().seal("p", b"", b"x", [1; 24]);
        assert!(read.sealing_key().unseal("p", b"", &sealed).is_some());
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_file_that_exists_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        fs::write(&path, "precious").unwrap();
        let fault = MasterKey::create(&path).unwrap_err();
        assert!(
            matches!(fault, VaultFault::File(_, error) if error.kind() == io::ErrorKind::AlreadyExists)
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert!(matches!(MasterKey::read(&path), Err(VaultFault::Malformed(_))));
    }

    #[test]
    fn a_key_that_another_tool_wrote_is_read() {
        let sealed = MasterKey::of_bytes(&[0xfb; 32]).sealing_key().seal("p", b"", b"x", [1; 24]);
        let url_safe = URL_SAFE_NO_PAD.encode([0xfb; 32]);
        let standard = format!("{}=\n", url_safe.replace('-', "+").replace('_', "/"));
        assert_ne!(url_safe, standard.trim().trim_end_matches('='));
        for text in [url_safe, standard] {
            let key = MasterKey::from_text(&text).unwrap();
            assert!(key.sealing_key().unseal("p", b"", &sealed).is_some());
        }
        for bad in ["", "short", "\u{e4}"] {
            assert!(MasterKey::from_text(bad).is_none(), "{bad}");
        }
    }
}
