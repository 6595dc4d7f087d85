//! What must hold before anything is opened: the files that the settings name. Every fault is told at once.

use std::fs::File;

use service::tls;

use super::CliError;
use crate::config::Settings;
use crate::guard::outbound;

/// For `serve`: certificate, key, authorities.
pub fn of_server(settings: &Settings) -> Result<(), CliError> {
    let mut faults = Vec::new();
    if let Some(files) = &settings.tls {
        faults.extend(tls::read_certificates(&files.cert).err().map(|fault| fault.to_string()));
        // Whether the two belong together is found when they are loaded.
        let key = File::open(&files.key).err();
        faults.extend(key.map(|error| format!("tls_key {}: {error}", files.key.display())));
    }
    faults.extend(authorities(settings));
    if faults.is_empty() { Ok(()) } else { Err(CliError::Faults(faults)) }
}

/// The file of further authorities must be good even where the issuer is http today: nobody else would notice until it is https.
pub fn authorities(settings: &Settings) -> Option<String> {
    let path = settings.outbound.extra_ca_file.as_ref()?;
    outbound::read_certificates(path).err().map(|fault| fault.to_string())
}
