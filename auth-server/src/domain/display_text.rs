//! Text that our pages show and that somebody else wrote: names of clients and APIs, what a scope allows, claims of people.
//!
//! Escaping keeps markup out. This keeps out what changes how the text *around* it reads: marks that turn the direction of writing
//! ([Unicode Technical Report 36 section 2.5](https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing)), breaks of the line,
//! controls, and characters that nobody sees.

/// Whether `text` is one line, is not blank, begins and ends with something visible, and holds nothing that hides or turns around.
///
/// The two joiners are taken between other characters: Persian, Indic scripts and emoji are not written right without them.
pub fn is_plain_line(text: &str) -> bool {
    let is_edge_visible = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace() && !is_joiner(c));
    is_edge_visible(text.chars().next())
        && is_edge_visible(text.chars().next_back())
        && text.chars().all(|c| !is_deceptive(c))
}

/// Whether each line of `text` [is plain](is_plain_line): for what may have several, such as an address on an envelope.
pub fn are_plain_lines(text: &str) -> bool {
    !text.is_empty() && text.lines().all(is_plain_line)
}

const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Turn the direction of writing.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Break the line.
            | '\u{2028}' | '\u{2029}'
            // Nobody sees them: soft hyphen, joiner of graphemes, fillers, widths of zero, shorthand and musical controls, tags.
            // Not the selectors of variants: emoji and Japanese names need them.
            | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}'
            // Belong to nobody, so every font shows something else.
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_script_are_plain() {
        for good in [
            "Example App",
            "O'Brien & Søns",
            "アリス",
            "מסמכים",
            "مستندات",
            // With the joiner that this word needs.
            "می\u{200c}خواهم",
            "Family \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
            "I \u{2764}\u{fe0f} docs",
            "e\u{301}",
            "<b>bold</b>",
        ] {
            assert!(is_plain_line(good), "{good:?}");
        }
    }

    #[test]
    fn what_hides_or_turns_around_or_breaks_the_line_is_not() {
        for bad in [
            "",
            " ",
            " App",
            "App ",
            "\u{a0}App",
            "App\n",
            "App\nis your bank",
            "App\r",
            "App\u{85}x",
            "App\u{2028}x",
            "App\u{2029}x",
            "App\tx",
            "App\0",
            "App\u{7f}x",
            "App\u{1b}[2Jx",
            "\u{200d}App",
            "App\u{200c}",
            "App\u{feff}",
            "App\u{ad}x",
            "App\u{200b}x",
            "App\u{2060}x",
            "App\u{3164}x",
            "\u{2800}",
            "App\u{e0041}x",
            "\u{e000}",
        ] {
            assert!(!is_plain_line(bad), "{bad:?}");
        }
        for turn in ('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}')
            .chain(['\u{61c}', '\u{200e}', '\u{200f}'])
        {
            assert!(!is_plain_line(&format!("App{turn}moc.elpmaxe")), "{turn:?}");
        }
    }

    #[test]
    fn several_lines_are_plain_each() {
        assert!(are_plain_lines("1 Main Street\r\n75001 Paris\nFrance"));
        assert!(are_plain_lines("1 Main Street"));
        for bad in ["", "\n", "a\n\nb", "a\n\u{202e}b", "a\rb"] {
            assert!(!are_plain_lines(bad), "{bad:?}");
        }
    }
}
