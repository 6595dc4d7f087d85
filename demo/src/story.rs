//! How the tour speaks: numbered steps, what was sent, what came back, secrets shortened.

use std::sync::atomic::{AtomicU32, Ordering};

static STEP: AtomicU32 = AtomicU32::new(0);

/// Begins a step.
pub fn step(title: &str) {
    let number = STEP.fetch_add(1, Ordering::Relaxed) + 1;
    line(&format!("\n{number}. {title}"));
}

/// What one party sends.
pub fn sent(text: &str) {
    line(&format!("   -> {text}"));
}

/// What came back.
pub fn came(text: &str) {
    line(&format!("   <- {text}"));
}

/// A plain sentence.
pub fn say(text: &str) {
    line(&format!("   {text}"));
}

/// A line without indentation.
#[expect(clippy::print_stdout, reason = "the tour's whole purpose is to tell")]
pub fn line(text: &str) {
    println!("{text}");
}

/// The beginning of a token or code, enough to recognise it and too little to use it.
pub fn short(secret: &str) -> String {
    let head: String = secret.chars().take(10).collect();
    format!("{head}… ({} characters)", secret.len())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_shortened_token_cannot_be_used() {
        let token = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl";
        assert!(!super::short(token).contains("c2lnbmF0dXJl"));
    }
}
