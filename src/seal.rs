//! Sealing: what leaves this process for a store that others can reach is encrypted and bound to its
//! place (XChaCha20-Poly1305 with random nonces).

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

/// The bytes of a nonce, which stands before the sealed text.
const NONCE: usize = 24;

/// Seals texts, and opens what was sealed with the same secret for the same purpose.
#[derive(Clone)]
pub enum Seal {
    /// As it is meant.
    Cipher(XChaCha20Poly1305),
    /// Leaves texts as they are, for simulations that seal them half a million times.
    #[cfg(test)]
    Bare,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    /// Derives a key from a secret. What one purpose seals no other can open.
    #[must_use]
    pub fn new(secret: &[u8; 32], purpose: &str) -> Self {
        let key = Sha256::new().chain_update(purpose).chain_update(secret).finalize();
        Self::Cipher(XChaCha20Poly1305::new(&key))
    }

    /// Makes a key of random bytes: what it seals ends with the process.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self::new(&key, ""))
    }

    /// Seals a text for the place `place`. `None` if the system has no random bytes to give.
    #[must_use]
    pub fn seal(&self, place: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let cipher = match self {
            Self::Cipher(cipher) => cipher,
            #[cfg(test)]
            Self::Bare => return Some(text.to_vec()),
        };
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let payload = Payload { msg: text, aad: place };
        let body = cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some([nonce.as_slice(), &body].concat())
    }

    /// Opens what was sealed for `place`. `None` for what another key, another place or somebody's
    /// tampering made.
    #[must_use]
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let cipher = match self {
            Self::Cipher(cipher) => cipher,
            #[cfg(test)]
            Self::Bare => return Some(sealed.to_vec()),
        };
        let (nonce, body) = sealed.split_first_chunk::<NONCE>()?;
        cipher.decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: place }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_with_its_key_for_its_purpose_and_at_its_place() {
        let seal = Seal::new(&[7; 32], "one");
        let sealed = seal.seal(b"here", b"text").expect("sealed");
        assert!(!sealed.windows(4).any(|part| part == b"text"));
        assert_eq!(seal.open(b"here", &sealed).as_deref(), Some(&b"text"[..]));
        assert_eq!(seal.open(b"there", &sealed), None);
        assert_eq!(Seal::new(&[8; 32], "one").open(b"here", &sealed), None);
        assert_eq!(Seal::new(&[7; 32], "two").open(b"here", &sealed), None);
        for at in 0..sealed.len() {
            let mut tampered = sealed.clone();
            tampered[at] ^= 1;
            assert_eq!(seal.open(b"here", &tampered), None, "byte {at}");
        }
    }
}
