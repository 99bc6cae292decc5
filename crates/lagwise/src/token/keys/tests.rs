//! Nobody but the keys makes a token, and nobody else's user can use it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lagwise_core::{Lsn, ReadFrom, ServerStart, SystemId, Timeline};

use super::*;

const OLD: &str = "the old secret of 32 bytes, as is";
const NEW: &str = "the new secret of 32 bytes, as is";
const NOW: WallTime = WallTime::from_millis(1_800_000_000_000);

fn keys(secret: &str) -> Keys {
    Keys::new(secret).unwrap()
}

fn claim() -> Claim {
    let mut claim = Claim::new(SystemId::new(77), Timeline::new(3), NOW);
    claim.lsn = Some(Lsn::new(0x10_0000_0000));
    claim.beyond = true;
    claim.read = Some(ReadFrom::Server(ServerStart::new(5), NOW));
    claim
}

fn open(keys: &Keys, token: &Token) -> Result<Claim, TokenFault> {
    keys.open_at(token, None, NOW)
}

fn bytes(token: &Token) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.as_str()).unwrap()
}

fn token(bytes: &[u8]) -> Token {
    URL_SAFE_NO_PAD.encode(bytes).parse().unwrap()
}

/// Keys that only sign, and where they can also ones that encrypt.
fn ways() -> Vec<Keys> {
    vec![
        keys(OLD),
        #[cfg(feature = "encryption")]
        keys(OLD).encrypted(),
    ]
}

#[test]
fn what_was_signed_is_read() {
    for keys in ways() {
        for binding in [None, Some(""), Some("user-7"), Some("ü\r\n\0")] {
            let token = keys.sign(&claim(), binding);
            assert!(token.as_str().parse::<Token>().is_ok(), "it can be carried");
            assert_eq!(keys.open_at(&token, binding, NOW), Ok(claim()));
        }
    }
}

#[test]
fn a_signature_has_128_bits() {
    let signed = bytes(&keys(OLD).sign(&claim(), None));
    assert_eq!(signed.len(), 3 + claim().encode().len() + 16);
}

#[test]
fn a_token_with_any_bit_flipped_is_none() {
    for keys in ways() {
        let good = bytes(&keys.sign(&claim(), None));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let fault = open(&keys, &token(&bad)).unwrap_err();
            let expected = match bit / 8 {
                0 => [TokenFault::Malformed, TokenFault::Forged],
                1 | 2 => [TokenFault::UnknownKey; 2],
                _ => [TokenFault::Forged; 2],
            };
            assert!(expected.contains(&fault), "bit {bit}: {fault}");
        }
    }
}

#[test]
fn a_token_with_any_character_changed_is_none() {
    for keys in ways() {
        let good = keys.sign(&claim(), None).to_string();
        let places =
            (0..good.len()).flat_map(|at| ["A", "B", "z", "0", "-", "_"].map(|to| (at, to)));
        for (at, letter) in places {
            let mut bad = good.clone();
            bad.replace_range(at..=at, letter);
            let opened = open(&keys, &bad.parse().unwrap());
            assert_eq!(opened.is_ok(), bad == good, "{letter} at {at}");
        }
    }
}

#[test]
fn a_token_cut_off_or_with_more_in_it_is_none() {
    for keys in ways() {
        let good = keys.sign(&claim(), None);
        for length in 1..good.as_str().len() {
            let bad: Token = good.as_str()[..length].parse().unwrap();
            assert!(open(&keys, &bad).is_err(), "{length} characters");
        }
        let good = bytes(&good);
        for at in [0, 1, 3, 4, good.len() - 16, good.len()] {
            let mut bad = good.clone();
            bad.insert(at, 0);
            assert!(open(&keys, &token(&bad)).is_err(), "a byte more at {at}");
        }
        // A signature cut further, with the content as it was.
        for cut in 1..=16 {
            let bad = &good[..good.len() - cut];
            assert!(open(&keys, &token(bad)).is_err(), "{cut} bytes less");
        }
    }
}

#[test]
fn nothing_but_a_version_and_an_id_is_none() {
    for keys in ways() {
        let good = bytes(&keys.sign(&claim(), None));
        for length in 1..30 {
            for filler in [0, 255] {
                let mut bad = vec![filler; length];
                let head = length.min(3);
                bad[..head].copy_from_slice(&good[..head]);
                assert!(open(&keys, &token(&bad)).is_err(), "{length} bytes");
            }
        }
    }
}

#[test]
fn a_token_of_another_key_is_none() {
    for keys in ways() {
        let other = keys.sign(&claim(), None);
        assert_eq!(open(&self::keys(NEW), &other), Err(TokenFault::UnknownKey));
        // Even where it says that it was signed with ours.
        let mut posing = bytes(&other);
        posing[1..3].copy_from_slice(&bytes(&self::keys(NEW).sign(&claim(), None))[1..3]);
        assert_eq!(
            open(&self::keys(NEW), &token(&posing)),
            Err(TokenFault::Forged)
        );
    }
}

#[test]
fn a_key_is_replaced_in_three_steps_without_losing_a_token() {
    let steps = [
        keys(OLD),
        keys(OLD).also_accept(NEW).unwrap(),
        keys(NEW).also_accept(OLD).unwrap(),
        keys(NEW),
    ];
    // While a step is rolled out, instances before and after it are at work.
    for pair in steps.windows(2) {
        for (from, to) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let carried = pair[from].sign(&claim(), Some("u"));
            assert_eq!(pair[to].open_at(&carried, Some("u"), NOW), Ok(claim()));
        }
    }
    let old = keys(OLD).sign(&claim(), None);
    assert_eq!(
        open(&keys(NEW), &old),
        Err(TokenFault::UnknownKey),
        "it was dropped"
    );
}

#[test]
fn two_keys_with_the_same_id_both_work() {
    let id = |secret: &str| bytes(&keys(secret).sign(&claim(), None))[1..3].to_vec();
    let mut seen = std::collections::BTreeMap::new();
    let (one, other) = (0..)
        .find_map(|number| {
            let secret = format!("secret number {number:>20}");
            let before = seen.insert(id(&secret), secret.clone());
            before.map(|before| (before, secret))
        })
        .unwrap();
    let both = keys(&one).also_accept(&other).unwrap();
    for secret in [&one, &other] {
        assert_eq!(open(&both, &keys(secret).sign(&claim(), None)), Ok(claim()));
    }
    let stranger = keys(&other).sign(&claim(), None);
    assert_eq!(open(&keys(&one), &stranger), Err(TokenFault::Forged));
}

#[test]
fn a_token_is_good_for_whom_it_was_made_alone() {
    let bindings = [
        None,
        Some(""),
        Some("\0"),
        Some("a"),
        Some("ab"),
        Some("b"),
        Some("a\0b"),
        // What another binding looks like with its length before it, and content after it.
        Some("\0\0\0\0\0\0\0\u{1}a"),
        Some("a\u{1}"),
    ];
    for keys in ways() {
        let pairs = bindings.map(|made| bindings.map(|used| (made, used)));
        for (made, used) in pairs.into_iter().flatten() {
            let opened = keys.open_at(&keys.sign(&claim(), made), used, NOW);
            let expected = (made == used).then(claim).ok_or(TokenFault::Forged);
            assert_eq!(opened, expected, "made for {made:?}, used by {used:?}");
        }
    }
}

#[test]
fn content_does_not_move_into_the_binding() {
    let signed = bytes(&keys(OLD).sign(&claim(), Some("ab")));
    for taken in 1..4 {
        // The same bytes under the signature, but for where the binding ends.
        let binding = format!("ab{}", "\u{1}".repeat(taken));
        let shorter = [&signed[..3], &signed[3 + taken..]].concat();
        let opened = keys(OLD).open_at(&token(&shorter), Some(&binding), NOW);
        assert!(opened.is_err());
    }
}

#[test]
fn a_token_that_is_too_old_or_of_the_future_is_none() {
    let keys = keys(OLD).max_age(Duration::from_secs(10));
    let token = keys.sign(&claim(), None);
    let at = |millis: i64| {
        let wall = NOW.as_millis().checked_add_signed(millis).unwrap();
        keys.open_at(&token, None, WallTime::from_millis(wall))
    };
    assert!(at(0).is_ok());
    assert!(at(10_000).is_ok());
    assert_eq!(at(10_001), Err(TokenFault::Expired));
    assert_eq!(at(1_000_000_000), Err(TokenFault::Expired));
    assert!(at(-60_000).is_ok(), "clocks differ");
    assert_eq!(at(-60_001), Err(TokenFault::Early));
}

#[cfg(feature = "tower")]
#[test]
fn tokens_are_accepted_for_five_minutes_and_renewed_well_before() {
    let keys = keys(OLD);
    assert_eq!(keys.kept_for(), Duration::from_secs(300));
    assert!(keys.renew_after() * 2 < keys.kept_for());
}

#[test]
fn signed_bytes_that_are_no_claim_are_malformed() {
    let key = Key::new(OLD.as_bytes());
    let known = claim().encode();
    let mut unknown = known.clone();
    unknown[0] |= 128;
    for content in [&[][..], &known[1..], &unknown, &[&known[..], &[0]].concat()] {
        let token: Token = seal::sign(&key, content, None).parse().unwrap();
        assert_eq!(open(&keys(OLD), &token), Err(TokenFault::Malformed));
    }
}

#[test]
fn a_short_secret_is_refused_with_what_to_do() {
    for secret in ["", "short", "31 bytes are one byte too few.."] {
        let refused = Keys::new(secret).unwrap_err();
        assert!(refused.is_config());
        let message = refused.to_string();
        assert!(message.contains("at least 32"), "{message}");
        assert!(message.contains("openssl rand"), "{message}");
        assert!(secret.is_empty() || !message.contains(secret), "{message}");
        assert!(keys(OLD).also_accept(secret).is_err());
    }
    assert!(Keys::new([0_u8; 32]).is_ok(), "any bytes will do");
}

#[test]
fn a_variable_holds_a_secret_and_perhaps_one_that_is_accepted() {
    let listed = |text: &str| Keys::listed("LAGWISE_KEY", text);
    let carried = keys(OLD).sign(&claim(), None);
    for text in [OLD_ALONE, " the.old.secret.of.32.bytes.as.it.is \n"] {
        let keys = listed(text).unwrap();
        let plain = Keys::new(OLD_ALONE).unwrap();
        assert_eq!(open(&keys, &plain.sign(&claim(), None)), Ok(claim()));
        assert!(open(&keys, &carried).is_err());
    }
    let two = listed(&format!("{NEW_ALONE}, {OLD_ALONE}")).unwrap();
    let old = Keys::new(OLD_ALONE).unwrap().sign(&claim(), None);
    assert_eq!(open(&two, &old), Ok(claim()));
    let signed = two.sign(&claim(), None);
    assert_eq!(
        open(&Keys::new(NEW_ALONE).unwrap(), &signed),
        Ok(claim()),
        "the first signs"
    );

    let three = format!("{NEW_ALONE},{OLD_ALONE},{OLD_ALONE}");
    for text in [
        "",
        " ",
        ",",
        "s3cr3t",
        &format!("{OLD_ALONE},"),
        &format!(",{OLD_ALONE}"),
        &three,
    ] {
        let refused = listed(text).unwrap_err();
        assert!(refused.is_config());
        let message = format!("{refused} {refused:?}");
        for secret in [OLD_ALONE, NEW_ALONE, "s3cr3t"] {
            assert!(!message.contains(secret), "{message}");
        }
    }
    let refused = listed(&three).unwrap_err().to_string();
    assert!(refused.contains("LAGWISE_KEY"), "{refused}");
    let missing = Keys::from_env("LAGWISE_KEY_THAT_NOBODY_SETS").unwrap_err();
    assert!(
        missing.to_string().contains("LAGWISE_KEY_THAT_NOBODY_SETS"),
        "{missing}"
    );
}

const OLD_ALONE: &str = "the.old.secret.of.32.bytes.as.it.is";
const NEW_ALONE: &str = "the.new.secret.of.32.bytes.as.it.is";

#[test]
fn nothing_shows_a_key() {
    let keys = keys(OLD).also_accept(NEW).unwrap();
    for shown in [format!("{keys:?}"), format!("{keys:#?}")] {
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains('2'), "how many there are: {shown}");
    }
}

#[cfg(feature = "encryption")]
mod encryption {
    use super::*;

    #[test]
    fn an_encrypted_token_tells_nothing_and_never_looks_the_same() {
        let keys = keys(OLD).encrypted();
        let [one, other] = [(); 2].map(|()| keys.sign(&claim(), None));
        assert_ne!(one, other, "a nonce is used once");
        let content = claim().encode();
        let plain = content.windows(4);
        let sealed = bytes(&one);
        for part in plain.filter(|part| **part != [0; 4]) {
            assert!(!sealed.windows(4).any(|window| window == part), "{part:?}");
        }
        assert!(one.as_str().len() <= 256);
    }

    #[test]
    fn tokens_of_before_and_after_encryption_was_turned_on_are_both_accepted() {
        let (plain, encrypted) = (keys(OLD), keys(OLD).encrypted());
        for made in [&plain, &encrypted] {
            for used in [&plain, &encrypted] {
                let token = made.sign(&claim(), Some("u"));
                assert_eq!(used.open_at(&token, Some("u"), NOW), Ok(claim()));
            }
        }
    }

    #[test]
    fn one_kind_does_not_pass_for_the_other() {
        for (made, version) in [(keys(OLD), 2), (keys(OLD).encrypted(), 1)] {
            let mut posing = bytes(&made.sign(&claim(), None));
            posing[0] = version;
            assert_eq!(open(&keys(OLD), &token(&posing)), Err(TokenFault::Forged));
        }
    }
}
