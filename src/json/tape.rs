//! A text and the index of its values in one piece, as one allocation: of a known job the index alone took two more.
//!
//! First stands how wide the index is, then the index, a node for each value in the order of their beginnings, then the
//! text. Names of members have no nodes: they stand between two values. The index is written in digits of seven bits:
//! these are ASCII, so that all of it is one `str`.

use std::sync::Arc;

use super::Kind;

/// One value of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    /// Its beginning in bytes: in the text while that is read, in the tape afterwards.
    pub start: u32,
    pub end: u32,
    /// The node behind it and everything in it.
    pub next: u32,
    pub kind: Kind,
}

impl Node {
    /// The same in a text that begins so many bytes later.
    pub fn moved(self, bytes: usize) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { start: self.start + bytes, end: self.end + bytes, ..self }
    }
}

/// The bits of a digit.
const DIGIT: u32 = 7;

/// The bits that a node's kind takes beside `next`.
const KIND: u32 = 4;

/// The bytes behind the last node.
const PADDING: &[u8] = b"  ";

/// The longest text of a tape, in bytes.
pub(super) const MAX_TEXT: usize = 128 << 20;

/// The number of values that a tape may hold: a page of 100 jobs has some 10,000.
pub(super) const MAX_NODES: usize = 1 << 20;

/// The number of digits of each of a node's three numbers. A job's are narrow.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Width {
    Narrow = 2,
    Wide = 4,
}

impl Width {
    /// Returns the width of the index of a text, and the length of that index.
    const fn of(text: usize, nodes: usize) -> (Self, usize) {
        let narrow = Self::Narrow.length(nodes);
        let most = 1 << (Self::Narrow as u32 * DIGIT);
        if narrow + text < most && nodes << KIND < most {
            (Self::Narrow, narrow)
        } else {
            (Self::Wide, Self::Wide.length(nodes))
        }
    }

    /// Returns the place of a node.
    const fn place(self, at: usize) -> usize {
        1 + at * 3 * self as usize
    }

    /// Returns the length of an index of so many nodes. Eight bytes can be read at the place of each.
    const fn length(self, nodes: usize) -> usize {
        self.place(nodes) + PADDING.len()
    }
}

/// Makes the tape of a text and its nodes.
pub(super) fn tape(text: &str, nodes: impl ExactSizeIterator<Item = Node>) -> Arc<str> {
    let (width, length) = Width::of(text.len(), nodes.len());
    let mut index = Vec::with_capacity(length);
    index.push(width as u8);
    for node in nodes {
        let Node { start, end, .. } = node.moved(length);
        let numbers = [start, end, node.next << KIND | node.kind as u32];
        match width {
            Width::Narrow => index.extend_from_slice(&narrow_digits(numbers)),
            Width::Wide => index.extend_from_slice(numbers.map(digits).as_flattened()),
        }
    }
    index.extend_from_slice(PADDING);
    let index = str::from_utf8(&index).unwrap_or_default();
    [index, text].concat().into()
}

/// Reads a node of a tape.
#[inline]
pub(super) fn node(tape: &str, at: u32) -> Node {
    let (tape, at) = (tape.as_bytes(), at as usize);
    let [start, end, last] = if tape[0] == Width::Narrow as u8 {
        narrow(&tape[Width::Narrow.place(at)..])
    } else {
        wide(&tape[Width::Wide.place(at)..])
    };
    Node { start, end, next: last >> KIND, kind: Kind::ALL[last as usize % Kind::ALL.len()] }
}

/// The lower digits of three numbers of two, and the bits of the upper ones where they stand in a number.
const LOWER: u64 = 0x007f_007f_007f;
const UPPER: u64 = 0x3f80_3f80_3f80;

/// Reads the three numbers of two digits that a node is, all at once: jobs are looked through for names again and again.
#[inline]
fn narrow(node: &[u8]) -> [u32; 3] {
    let digits = u64::from_le_bytes(*node.first_chunk().unwrap_or(&[0; 8]));
    let numbers = (digits & LOWER | digits >> 1 & UPPER).to_le_bytes();
    match numbers.as_chunks().0 {
        [start, end, last, ..] => {
            [start, end, last].map(|number| u16::from_le_bytes(*number).into())
        }
        _ => [0; 3],
    }
}

/// Writes three numbers of two digits.
#[inline]
fn narrow_digits([start, end, last]: [u32; 3]) -> [u8; 6] {
    let numbers = u64::from(start) | u64::from(end) << 16 | u64::from(last) << 32;
    let digits = numbers & LOWER | (numbers & UPPER) << 1;
    *digits.to_le_bytes().first_chunk().unwrap_or(&[0; 6])
}

/// Reads the three numbers of four digits that a node is.
fn wide(node: &[u8]) -> [u32; 3] {
    let read = |digits: &[u8; 4]| {
        digits.iter().rev().fold(0, |number, digit| number << DIGIT | u32::from(*digit))
    };
    match node.as_chunks().0 {
        [start, end, last, ..] => [read(start), read(end), read(last)],
        _ => [0; 3],
    }
}

/// Writes a number of four digits, the lowest first.
fn digits(number: u32) -> [u8; 4] {
    let mut left = number;
    [(); 4].map(|()| {
        let [digit, ..] = (left & ((1 << DIGIT) - 1)).to_le_bytes();
        left >>= DIGIT;
        digit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_read_as_it_was_written_however_long_the_text_and_many_the_values() {
        for (text, values) in
            [(0, 1), (7, 2), (16_000, 40), (16_383, 1), (9_000, 1_100), (1 << 21, 5)]
        {
            let text = "x".repeat(text);
            let end = u32::try_from(text.len()).expect("short");
            let node = |next| Node { start: end / 3, end, next, kind: Kind::Object };
            let tape = tape(&text, (0..values).map(|at| node(at + 1)));
            for at in 0..values {
                let Node { start, end: ends, next, kind } = super::node(&tape, at);
                assert_eq!((next, kind), (at + 1, Kind::Object));
                assert_eq!(tape[start as usize..ends as usize], text[(end / 3) as usize..]);
            }
        }
    }
}
