//! What a token's text may be, and where it is never shown.

use super::*;

#[test]
fn a_text_that_no_token_has_is_refused() {
    let longest = "a".repeat(LONGEST);
    assert!(longest.parse::<Token>().is_ok());
    let fault = format!("{longest}a").parse::<Token>().unwrap_err();
    assert_eq!(fault, TokenFault::Malformed, "one character too many");
    for text in [
        "",
        " ",
        "a b",
        "a\r\nb",
        "a\n",
        "a\0",
        "\0",
        "%0d%0a",
        "abcd=",
        "ab==",
        "a+b",
        "a/b",
        "a.b",
        "a;b",
        "a,b",
        "a\"b",
        "é",
        "ａ",
        "a\u{202e}b",
        "\u{feff}a",
        "a\tb",
        "a\u{7f}",
    ] {
        assert_eq!(
            text.parse::<Token>(),
            Err(TokenFault::Malformed),
            "{text:?}"
        );
        assert_eq!(Token::try_from(text.to_owned()), Err(TokenFault::Malformed));
    }
    let everything = ('\0'..='\u{ff}').filter(|letter| letter.to_string().parse::<Token>().is_ok());
    let accepted: String = everything.collect();
    assert_eq!(
        accepted,
        "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
    );
}

#[test]
fn a_token_is_shown_only_where_it_is_asked_for() {
    let token: Token = "s3cr3t-and_more".parse().unwrap();
    assert_eq!(token.to_string(), "s3cr3t-and_more");
    assert_eq!(token.as_str(), "s3cr3t-and_more");
    assert_eq!(String::from(token.clone()), "s3cr3t-and_more");
    for shown in [
        format!("{token:?}"),
        format!("{token:#?}"),
        format!("{:?}", Some(&token)),
        format!("{:?}", "s3cr3t\r\n".parse::<Token>()),
    ] {
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
}

#[test]
fn every_fault_has_a_name_and_words_of_its_own() {
    let faults = [
        TokenFault::Malformed,
        TokenFault::UnknownKey,
        TokenFault::Forged,
        TokenFault::Expired,
        TokenFault::Early,
        TokenFault::Foreign,
        TokenFault::Beyond,
    ];
    let names: std::collections::BTreeSet<_> = faults.iter().map(|fault| fault.as_str()).collect();
    let words: std::collections::BTreeSet<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!((names.len(), words.len()), (faults.len(), faults.len()));
}

#[cfg(feature = "serde")]
#[test]
fn a_token_in_a_payload_is_its_text_and_checked_on_the_way_in() {
    use std::fmt::Write as _;

    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, StrDeserializer, StringDeserializer, U64Deserializer};
    use serde::{Deserialize as _, Serialize as _};

    struct Shown<'a>(&'a Token);
    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.serialize(f)
        }
    }

    let token: Token = "AQ-cd9x_".parse().unwrap();
    let mut text = String::new();
    write!(text, "{}", Shown(&token)).unwrap();
    assert_eq!(text, "AQ-cd9x_");
    let read: StringDeserializer<Error> = text.into_deserializer();
    assert_eq!(Token::deserialize(read).unwrap(), token);
    for text in ["", "a b", "a\r\nb", "s3cr3t%0d%0a", "abcd=", "é"] {
        let read: StrDeserializer<'_, Error> = text.into_deserializer();
        let refused = Token::deserialize(read).unwrap_err().to_string();
        assert!(!refused.contains("s3cr3t"), "{refused}");
    }
    let number: U64Deserializer<Error> = 7_u64.into_deserializer();
    assert!(Token::deserialize(number).is_err());
}
