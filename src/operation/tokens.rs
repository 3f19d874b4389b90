//! Counts tokens and nesting before anything is parsed.
//! Lexical rules: GraphQL specification, October 2021, section 2.1.

use super::{Error, Limits};

/// The depth to which brackets may nest: well above any limit of depth, well below the parser's stack.
const MAX_NESTING: u64 = 64;

/// Refuses a text with too many tokens or brackets nested too deep. A text that is not GraphQL
/// passes: the parser says what is wrong with it.
pub fn check(text: &str, limits: &Limits) -> Result<(), Error> {
    let mut rest = text.as_bytes();
    let (mut tokens, mut nesting) = (0_u64, 0_u64);
    while let Some(&byte) = rest.first() {
        let length = match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' | 0xEF | 0xBB | 0xBF => {
                rest = &rest[1..];
                continue;
            }
            b'#' => {
                rest = after(rest, |byte| byte != b'\n' && byte != b'\r');
                continue;
            }
            b'"' => string_length(rest),
            b'.' if rest.starts_with(b"...") => 3,
            _ if is_name(byte) => rest.len() - after(rest, is_name).len(),
            _ => 1,
        };
        match byte {
            b'{' | b'[' | b'(' => nesting += 1,
            b'}' | b']' | b')' => nesting = nesting.saturating_sub(1),
            _ => {}
        }
        tokens += 1;
        if tokens > limits.tokens {
            return Err(Error::TooComplex {
                what: "tokens",
                got: tokens,
                max: limits.tokens,
                set_by: Some("limits.tokens"),
            });
        }
        if nesting > MAX_NESTING {
            return Err(Error::TooComplex {
                what: "levels",
                got: nesting,
                max: MAX_NESTING,
                set_by: None,
            });
        }
        rest = &rest[length.min(rest.len())..];
    }
    Ok(())
}

/// Names and numbers: both end at the next character that neither has.
const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+')
}

fn after(bytes: &[u8], is_part: impl Fn(u8) -> bool) -> &[u8] {
    let end = bytes.iter().position(|byte| !is_part(*byte)).unwrap_or(bytes.len());
    &bytes[end..]
}

/// The length of the string that starts here, quotes included.
fn string_length(bytes: &[u8]) -> usize {
    let (quote, escape): (&[u8], &[u8]) =
        if bytes.starts_with(br#"""""#) { (br#"""""#, br#"\""""#) } else { (b"\"", b"\\") };
    let mut at = quote.len();
    while at < bytes.len() {
        if bytes[at..].starts_with(escape) {
            // In a plain string a backslash takes the next character with it.
            at += escape.len().max(2);
        } else if bytes[at..].starts_with(quote) {
            return at + quote.len();
        } else {
            at += 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(text: &str) -> u64 {
        let limit = |tokens| Limits { tokens, ..Limits::default() };
        (0..100).find(|tokens| check(text, &limit(*tokens)).is_ok()).expect("fewer than 100")
    }

    #[test]
    fn tokens_are_counted_as_the_specification_has_them() {
        assert_eq!(count(""), 0);
        assert_eq!(count("{ a, b # c d e\n }"), 4);
        assert_eq!(count("{ a(x: \"b \\\" c\") }"), 8);
        assert_eq!(count("{ a(x: \"\"\"b \" \\\"\"\" c\"\"\") }"), 8);
        assert_eq!(count("...F @d $v -1.5"), 9);
        assert_eq!(count("\"never closed"), 1);
    }

    #[test]
    fn brackets_nested_too_deep_are_refused_before_the_parser_sees_them() {
        let deep = format!("{{ a(x: {}{}) }}", "[".repeat(500), "]".repeat(500));
        assert!(matches!(
            check(&deep, &Limits::default()),
            Err(Error::TooComplex { what: "levels", .. })
        ));
    }

    proptest! {
        #[test]
        fn any_text_is_counted_without_a_panic(text in "\\PC*|[\"\\\\{}\\[\\]#.\n a]*") {
            let _ = check(&text, &Limits::default());
        }
    }
}
