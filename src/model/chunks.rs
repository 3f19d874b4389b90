//! Bodies arrive in pieces, most in one.

use bytes::{Bytes, BytesMut};

/// Appends the next piece to what came before. A first piece is taken as it is, and nothing is copied.
#[must_use]
pub fn append_chunk(before: Bytes, piece: Bytes) -> Bytes {
    if before.is_empty() {
        return piece;
    }
    let mut longer = BytesMut::from(before);
    longer.extend_from_slice(&piece);
    longer.freeze()
}
