//! Reads a JSON text (RFC 8259) into the index of its values, without recursion.

use super::Kind;
use super::tape::{MAX_NODES, MAX_TEXT, Node};

/// The depth to which lists and objects may nest.
const MAX_DEPTH: usize = 64;

/// Why a text is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is no JSON.
    #[error("no JSON at byte {0}")]
    Syntax(usize),
    /// It nests too deep.
    #[error("lists and objects nest deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// It is longer than 128 MiB, or holds too many values.
    #[error("more than {MAX_NODES} values, or {MAX_TEXT} bytes")]
    TooLarge,
}

/// The token that may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    Value,
    /// A value, or the end of the list.
    FirstItem,
    Name,
    /// A name, or the end of the object.
    FirstName,
    /// A comma or the end of what is open; the end of the text if nothing is.
    Rest,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// The lists and objects that are open.
    open: Vec<usize>,
}

/// Reads a whole text.
pub(super) fn nodes(text: &str) -> Result<Vec<Node>, Malformed> {
    if text.len() > MAX_TEXT {
        return Err(Malformed::TooLarge);
    }
    // Most values of a job are short, and have a name.
    let nodes = Vec::with_capacity(text.len() / 32 + 4);
    let mut reader = Reader { bytes: text.as_bytes(), at: 0, nodes, open: Vec::new() };
    reader.read()?;
    Ok(reader.nodes)
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), Malformed> {
        let mut expects = Expects::Value;
        loop {
            self.skip_space();
            let Some(&byte) = self.bytes.get(self.at) else {
                let is_whole = expects == Expects::Rest && self.open.is_empty();
                return if is_whole { Ok(()) } else { Err(self.syntax()) };
            };
            expects = match (expects, byte) {
                (Expects::FirstItem, b']') | (Expects::FirstName, b'}') => self.close()?,
                (Expects::Value | Expects::FirstItem, _) => self.value(byte)?,
                (Expects::Name | Expects::FirstName, b'"') => self.name()?,
                (Expects::Rest, b',' | b']' | b'}') => self.rest(byte)?,
                _ => return Err(self.syntax()),
            };
        }
    }

    const fn syntax(&self) -> Malformed {
        Malformed::Syntax(self.at)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn rest(&mut self, byte: u8) -> Result<Expects, Malformed> {
        let open = self.open.last().and_then(|open| self.nodes.get(*open)).map(|node| node.kind);
        match (open, byte) {
            (Some(Kind::Array), b',') => {
                self.at += 1;
                Ok(Expects::Value)
            }
            (Some(Kind::Object), b',') => {
                self.at += 1;
                Ok(Expects::Name)
            }
            (Some(Kind::Array), b']') | (Some(Kind::Object), b'}') => self.close(),
            _ => Err(self.syntax()),
        }
    }

    fn close(&mut self) -> Result<Expects, Malformed> {
        let Some(open) = self.open.pop() else { return Err(self.syntax()) };
        self.at += 1;
        let (end, next) = (short(self.at)?, short(self.nodes.len())?);
        if let Some(node) = self.nodes.get_mut(open) {
            *node = Node { end, next, ..*node };
        }
        Ok(Expects::Rest)
    }

    fn value(&mut self, first: u8) -> Result<Expects, Malformed> {
        let start = self.at;
        let kind = match first {
            b'{' => return self.open(Kind::Object, Expects::FirstName),
            b'[' => return self.open(Kind::Array, Expects::FirstItem),
            b'"' => self.string()?,
            b'n' => self.word(b"null", Kind::Null)?,
            b't' => self.word(b"true", Kind::True)?,
            b'f' => self.word(b"false", Kind::False)?,
            _ => self.number()?,
        };
        self.push(kind, start)?;
        Ok(Expects::Rest)
    }

    fn name(&mut self) -> Result<Expects, Malformed> {
        self.string()?;
        self.skip_space();
        if self.bytes.get(self.at) != Some(&b':') {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(Expects::Value)
    }

    fn push(&mut self, kind: Kind, start: usize) -> Result<(), Malformed> {
        if self.nodes.len() >= MAX_NODES {
            return Err(Malformed::TooLarge);
        }
        let (start, end, next) = (short(start)?, short(self.at)?, short(self.nodes.len() + 1)?);
        self.nodes.push(Node { start, end, next, kind });
        Ok(())
    }

    fn open(&mut self, kind: Kind, expects: Expects) -> Result<Expects, Malformed> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Malformed::TooDeep);
        }
        self.open.push(self.nodes.len());
        // Its end is put right when it is closed.
        self.push(kind, self.at)?;
        self.at += 1;
        Ok(expects)
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<Kind, Malformed> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(kind)
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    fn number(&mut self) -> Result<Kind, Malformed> {
        let mut kind = Kind::Integer;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
            kind = Kind::Float;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
            kind = Kind::Float;
        }
        Ok(kind)
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(self.syntax()) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Kind, Malformed> {
        let mut kind = Kind::String;
        self.at += 1;
        loop {
            self.at += plain(&self.bytes[self.at..]);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(kind);
                }
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    self.escape()?;
                }
                _ => return Err(self.syntax()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(self.syntax());
                }
                self.at += 6;
                Ok(())
            }
            _ => Err(self.syntax()),
        }
    }
}

fn short(number: usize) -> Result<u32, Malformed> {
    u32::try_from(number).map_err(|_| Malformed::TooLarge)
}

/// The number of bytes before the next quote, backslash or control character. Eight bytes at a time: URLs are
/// long.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    // Sets the high bit of each byte that is zero; a byte above a zero may be taken for one, none below it.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut length = 0;
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = quotes | backslashes | controls;
        if found != 0 {
            return length + found.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let is_plain = |byte: &u8| *byte != b'"' && *byte != b'\\' && *byte >= 0x20;
    length + rest.iter().take_while(|byte| is_plain(byte)).count()
}
