//! Signs bytes so that nobody else can, and finds out whether they were.
//!
//! A sealed text is base64url (RFC 4648, section 5, without padding) of
//!
//! ```text
//! version, 1 byte | id of the key, 2 bytes | content, and an HMAC-SHA256 of all before it, cut to 16 bytes
//! version, 1 byte | id of the key, 2 bytes | nonce, 24 bytes | XChaCha20-Poly1305 of the content
//! ```
//!
//! Both also cover a text that is not sent: whom it is for. Signatures are compared in constant time.
//! What the content means is not this module's business.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::TokenFault;

const SIGNED: u8 = 1;
#[cfg(feature = "encryption")]
const ENCRYPTED: u8 = 2;

/// Version and id of the key.
const HEAD: usize = 3;

/// 128 bits of an HMAC-SHA256, which is half of it, as RFC 2104 (section 5) allows.
const SIGNATURE: usize = 16;

/// A secret, and the id that it is told by.
#[derive(Clone)]
pub(super) struct Key {
    id: [u8; 2],
    mac: Hmac<Sha256>,
    #[cfg(feature = "encryption")]
    cipher: chacha20poly1305::XChaCha20Poly1305,
}

impl Key {
    pub(super) fn new(secret: &[u8]) -> Self {
        let derive = |what: &[u8]| digest(keyed(secret).chain_update(what));
        let id = derive(b"lagwise key id");
        #[cfg(feature = "encryption")]
        let cipher = {
            use chacha20poly1305::KeyInit as _;
            chacha20poly1305::XChaCha20Poly1305::new(&derive(b"lagwise token encryption").into())
        };
        Self {
            id: [id[0], id[1]],
            // Derived too, so that the secret itself signs nothing.
            mac: keyed(&derive(b"lagwise token signature")),
            #[cfg(feature = "encryption")]
            cipher,
        }
    }

    fn signature(&self, sealed: &[u8], binding: Option<&str>) -> Hmac<Sha256> {
        self.mac
            .clone()
            .chain_update(context(binding))
            .chain_update(sealed)
    }
}

/// The text of a signed content.
pub(super) fn sign(key: &Key, content: &[u8], binding: Option<&str>) -> String {
    let mut bytes = vec![SIGNED, key.id[0], key.id[1]];
    bytes.extend(content);
    let signature = digest(key.signature(&bytes, binding));
    bytes.extend(&signature[..SIGNATURE]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The text of an encrypted content.
#[cfg(feature = "encryption")]
pub(super) fn encrypt(key: &Key, content: &[u8], binding: Option<&str>) -> String {
    use chacha20poly1305::aead::{Aead as _, Generate as _, Payload};

    let mut bytes = vec![ENCRYPTED, key.id[0], key.id[1]];
    let nonce = chacha20poly1305::XNonce::generate();
    let payload = Payload {
        msg: content,
        aad: &associated(&bytes, binding),
    };
    // It fails on contents of gigabytes alone; then nothing is given out.
    let sealed = key.cipher.encrypt(&nonce, payload).unwrap_or_default();
    bytes.extend(nonce);
    bytes.extend(sealed);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(not(feature = "encryption"))]
pub(super) fn encrypt(key: &Key, content: &[u8], binding: Option<&str>) -> String {
    // Nobody can ask for it.
    sign(key, content, binding)
}

/// The content of a text that one of the keys has sealed for `binding`.
pub(super) fn open<'k>(
    keys: impl Iterator<Item = &'k Key>,
    text: &str,
    binding: Option<&str>,
) -> Result<Vec<u8>, TokenFault> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| TokenFault::Malformed)?;
    let Some((head, sealed)) = bytes.split_at_checked(HEAD) else {
        return Err(TokenFault::Malformed);
    };
    let mut fault = TokenFault::UnknownKey;
    for key in keys.filter(|key| key.id == head[1..]) {
        let opened = match head[0] {
            SIGNED => open_signed(key, &bytes, binding),
            #[cfg(feature = "encryption")]
            ENCRYPTED => open_encrypted(key, head, sealed, binding),
            _ => return Err(TokenFault::Malformed),
        };
        match opened {
            Ok(content) => return Ok(content),
            Err(why) => fault = why,
        }
    }
    #[cfg(not(feature = "encryption"))]
    let _unused = sealed;
    Err(fault)
}

fn open_signed(key: &Key, bytes: &[u8], binding: Option<&str>) -> Result<Vec<u8>, TokenFault> {
    let content = bytes.len().checked_sub(SIGNATURE).filter(|at| *at >= HEAD);
    let (signed, signature) = bytes.split_at(content.ok_or(TokenFault::Malformed)?);
    key.signature(signed, binding)
        .verify_truncated_left(signature)
        .map_err(|_| TokenFault::Forged)?;
    Ok(signed[HEAD..].to_vec())
}

#[cfg(feature = "encryption")]
fn open_encrypted(
    key: &Key,
    head: &[u8],
    sealed: &[u8],
    binding: Option<&str>,
) -> Result<Vec<u8>, TokenFault> {
    use chacha20poly1305::aead::{Aead as _, Payload};

    let (nonce, sealed) = sealed
        .split_first_chunk::<24>()
        .ok_or(TokenFault::Malformed)?;
    let payload = Payload {
        msg: sealed,
        aad: &associated(head, binding),
    };
    key.cipher
        .decrypt(&(*nonce).into(), payload)
        .map_err(|_| TokenFault::Forged)
}

#[cfg(feature = "encryption")]
fn associated(head: &[u8], binding: Option<&str>) -> Vec<u8> {
    [head, &context(binding)].concat()
}

/// Whom a token is for, so that no binding reads as another or as none.
fn context(binding: Option<&str>) -> Vec<u8> {
    match binding {
        None => vec![0],
        Some(binding) => {
            let length = u64::try_from(binding.len()).unwrap_or(u64::MAX);
            [&[1], &length.to_be_bytes()[..], binding.as_bytes()].concat()
        }
    }
}

#[expect(clippy::expect_used, reason = "an HMAC takes keys of any length")]
fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("an HMAC takes keys of any length")
}

fn digest(mac: Hmac<Sha256>) -> [u8; 32] {
    mac.finalize().into_bytes().into()
}
