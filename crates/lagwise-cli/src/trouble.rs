//! Why a node gave no answer, and whose fault that is.
//!
//! A server that is down is critical; one that answers and will not let this command in may be as
//! well as can be: of that nothing is known. Names that do not resolve and answers that do not come
//! count as down, as the guidelines of the Monitoring Plugins have it ("Plugin Return Codes").

use serde::{Serialize, Serializer};
use sqlx::postgres::PgDatabaseError;

use crate::format::short;
use crate::printable::Printable;
use crate::vitals::Unwell;

/// Why a node gave no answer. In words without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody can use it.
    Down(String),
    /// It answers, and does not let this command in.
    Refused(String),
}

impl Trouble {
    pub(crate) fn of(unwell: &Unwell) -> Self {
        match unwell {
            Unwell::Late(patience) => {
                Self::Down(format!("has not answered within {}", short(*patience)))
            }
            Unwell::Connect(error) | Unwell::Answer(error) => Self::of_error(error),
        }
    }

    pub(crate) fn of_error(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(database) => {
                let server = database.try_downcast_ref::<PgDatabaseError>();
                let words = match server.and_then(PgDatabaseError::detail) {
                    Some(detail) => format!("{} ({detail})", database.message()),
                    None => database.message().to_owned(),
                };
                let words = Printable(&words).to_string();
                Self::of_code(database.code().as_deref().unwrap_or_default(), &words)
            }
            sqlx::Error::Io(fault) => {
                let words = fault.to_string();
                Self::Down(format!("cannot be reached: {}", Printable(&words)))
            }
            sqlx::Error::Tls(fault) => {
                let words = fault.to_string();
                Self::Refused(format!("no agreement on TLS: {}", Printable(&words)))
            }
            other => {
                let words = other.to_string();
                Self::Refused(format!("could not be asked: {}", Printable(&words)))
            }
        }
    }

    /// See the PostgreSQL manual, appendix A.
    fn of_code(code: &str, words: &str) -> Self {
        match code {
            // No slot is left; it is starting, stopping or not taking connections; it was stopped.
            "53300" => Self::Down(format!("has no connection left: {words}")),
            code if code.starts_with("57P") || code.starts_with("53") => {
                Self::Down(format!("takes no connections: {words}"))
            }
            code if code.starts_with("28") => Self::Refused(format!("refused the login: {words}")),
            _ => Self::Refused(format!("refused to answer: {words}")),
        }
    }

    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Down(words) | Self::Refused(words) => words,
        }
    }
}

impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.words())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_that_is_down_is_told_from_one_that_lets_nobody_in() {
        for (code, down) in [
            ("28P01", false),
            ("28000", false),
            ("3D000", false),
            ("42501", false),
            ("53300", true),
            ("57P03", true),
            ("57P01", true),
        ] {
            let trouble = Trouble::of_code(code, "why");
            assert_eq!(matches!(trouble, Trouble::Down(_)), down, "{code}");
            assert!(trouble.words().ends_with(": why"), "{code}");
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let down = Trouble::of(&Unwell::Connect(sqlx::Error::Io(refused)));
        assert!(
            matches!(&down, Trouble::Down(words) if words.contains("refused")),
            "{down:?}"
        );
        let late = Trouble::of(&Unwell::Late(Duration::from_secs(2)));
        assert_eq!(
            late,
            Trouble::Down("has not answered within 2.00s".to_owned())
        );
    }
}
