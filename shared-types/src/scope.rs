//! Scope: a set of tokens, kept and written in one stable order ([RFC 6749 section 3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The most scope tokens one value may hold; more is an attack, not a request.
pub const MAX_SCOPE_TOKENS: usize = 256;

/// One scope token.
///
/// ```text
/// scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScopeToken(Box<str>);

impl ScopeToken {
    /// Takes `text` if it is one scope token, at most 255 bytes long.
    ///
    /// ```
    /// use shared_types::ScopeToken;
    /// assert!(ScopeToken::parse("documents:read").is_ok());
    /// assert!(ScopeToken::parse("two words").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, ScopeFault> {
        let allowed = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if text.is_empty() || text.len() > 255 || !text.bytes().all(allowed) {
            return Err(ScopeFault::Token);
        }
        Ok(Self(text.into()))
    }

    /// The token as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ScopeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ScopeToken {
    type Error = ScopeFault;
    fn try_from(text: String) -> Result<Self, ScopeFault> {
        Self::parse(&text)
    }
}

impl From<ScopeToken> for String {
    fn from(token: ScopeToken) -> Self {
        token.0.into_string()
    }
}

impl std::borrow::Borrow<str> for ScopeToken {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeFault {
    /// A token is empty, too long, or has a character that the grammar does not allow.
    #[error("a scope token is empty or has a character that RFC 6749 does not allow")]
    Token,
    /// There are more than [`MAX_SCOPE_TOKENS`] tokens.
    #[error("there are more than 256 scope tokens")]
    TooMany,
}

/// A set of scope tokens, possibly empty. On the wire they stand in ascending order, separated by one blank.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(BTreeSet<ScopeToken>);

impl Scope {
    /// Reads a scope value. The empty text is the empty scope; a doubled token counts once.
    ///
    /// ```text
    /// scope = scope-token *( SP scope-token )
    /// ```
    ///
    /// ```
    /// use shared_types::Scope;
    /// assert_eq!(Scope::parse("b a a").unwrap().to_string(), "a b");
    /// assert!(Scope::parse("a  b").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, ScopeFault> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut tokens = BTreeSet::new();
        for (count, token) in text.split(' ').enumerate() {
            if count >= MAX_SCOPE_TOKENS {
                return Err(ScopeFault::TooMany);
            }
            tokens.insert(ScopeToken::parse(token)?);
        }
        Ok(Self(tokens))
    }

    /// Whether `token` is in the set.
    pub fn contains(&self, token: &str) -> bool {
        self.0.contains(token)
    }

    /// Whether every token of `other` is in this set.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.is_subset(&self.0)
    }

    /// The tokens that stand in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// The tokens that stand in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// The tokens of this set that do not stand in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    /// This set without `token`.
    #[must_use]
    pub fn without(mut self, token: &str) -> Self {
        self.0.remove(token);
        self
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tokens in their order.
    pub fn iter(&self) -> impl Iterator<Item = &ScopeToken> {
        self.0.iter()
    }
}

impl FromIterator<ScopeToken> for Scope {
    fn from_iter<I: IntoIterator<Item = ScopeToken>>(tokens: I) -> Self {
        Self(tokens.into_iter().collect())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, token) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&token.0)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Scope {
    type Err = ScopeFault;
    fn from_str(text: &str) -> Result<Self, ScopeFault> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeFault;
    fn try_from(text: String) -> Result<Self, ScopeFault> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_of_rfc_6749_decides() {
        assert!(Scope::parse("openid profile").is_ok());
        for bad in [" a", "a ", "a\tb", "a\"b", "a\\b", "ä"] {
            assert!(Scope::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn more_tokens_than_the_limit_are_refused() {
        let text = |n: usize| (0..n).map(|i| format!("s{i}")).collect::<Vec<_>>().join(" ");
        assert!(Scope::parse(&text(MAX_SCOPE_TOKENS)).is_ok());
        assert_eq!(Scope::parse(&text(MAX_SCOPE_TOKENS + 1)), Err(ScopeFault::TooMany));
    }

    #[test]
    fn sets_behave_like_sets() {
        let (a, b) = (Scope::parse("x y").unwrap(), Scope::parse("y z").unwrap());
        assert_eq!(a.intersection(&b).to_string(), "y");
        assert_eq!(a.union(&b).to_string(), "x y z");
        assert_eq!(a.difference(&b).to_string(), "x");
        assert!(a.covers(&a.intersection(&b)) && !a.covers(&b));
    }
}
