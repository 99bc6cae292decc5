//! What can go wrong, as an application can tell it apart.
//!
//! One opaque error with predicates. Messages say this level only; the cause is in `source()`. No
//! message holds a URL, a password or a statement's text.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::Rejection;

/// An error of the router.
///
/// What to do about it is asked by its predicates: [`is_config`](Self::is_config),
/// [`is_unavailable`](Self::is_unavailable), [`is_overloaded`](Self::is_overloaded),
/// [`is_read_only`](Self::is_read_only), [`is_timed_out`](Self::is_timed_out), [`is_closed`](Self::is_closed),
/// [`may_have_been_applied`](Self::may_have_been_applied) for a write that failed, and
/// [`as_sqlx`](Self::as_sqlx) for what the database said.
pub struct Error(Box<Kind>);

#[derive(Debug)]
enum Kind {
    Closed,
    Config(Vec<String>),
    Database {
        node: Option<Arc<str>>,
        source: sqlx::Error,
        /// Whether a statement may have been sent.
        sent: bool,
    },
    /// Another node was promoted before the transaction on this one was committed.
    Deposed {
        node: Arc<str>,
    },
    /// The connection failed when a write had been sent on it.
    InFlight {
        node: Arc<str>,
        source: sqlx::Error,
    },
    NoPrimary,
    NotReady {
        missing: String,
    },
    Overloaded,
    /// The way out.
    ReadOnly,
    /// What is wrong with a statement.
    Statement(String),
    Unavailable {
        rejections: Vec<(Arc<str>, Rejection)>,
    },
    Misused(String),
    TimedOut,
    /// When to try again.
    TooEarly(Duration),
}

impl Error {
    /// The caller asked for what cannot be: settings that cannot be honored, all of which the message
    /// lists, or a node that does not exist.
    #[must_use]
    pub fn is_config(&self) -> bool {
        matches!(*self.0, Kind::Config(_) | Kind::Misused(_))
    }

    /// No node can serve this now: no replica met the requirement and the fallback was refused, there
    /// is no primary, or the router did not become ready in time. A 503, in HTTP.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(
            *self.0,
            Kind::Unavailable { .. }
                | Kind::Deposed { .. }
                | Kind::NoPrimary
                | Kind::NotReady { .. }
                | Kind::Overloaded
                | Kind::TooEarly(_)
        )
    }

    /// The primary's budget for fallback reads is spent. Also counts as unavailable.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        matches!(*self.0, Kind::Overloaded)
    }

    /// A write was refused because its session is read-only here: see
    /// [`Session::read_only`](crate::Session::read_only).
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(*self.0, Kind::ReadOnly)
    }

    /// A read's deadline has passed: see [`ReadOptions::deadline`](crate::ReadOptions::deadline). A 504,
    /// in HTTP. Does not count as unavailable.
    #[must_use]
    pub fn is_timed_out(&self) -> bool {
        matches!(*self.0, Kind::TimedOut)
    }

    /// When to try again, of a delayed job that no replica has enough for yet: see
    /// [`Router::resume_job`](crate::Router::resume_job). Also counts as unavailable.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match *self.0 {
            Kind::TooEarly(delay) => Some(delay),
            _ => None,
        }
    }

    /// The router was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(*self.0, Kind::Closed)
    }

    /// Whether the write that failed with this may have taken effect all the same: it had been sent,
    /// and nobody knows what became of it. If not, it is safe to do it again.
    ///
    /// What was not committed in a transaction has no effect, whatever its statements failed with.
    /// Of an error of the driver itself, [`may_have_been_applied`] says the same.
    #[must_use]
    pub fn may_have_been_applied(&self) -> bool {
        match &*self.0 {
            Kind::InFlight { .. } => true,
            Kind::Database {
                source, sent: true, ..
            } => may_have_been_applied(source),
            _ => false,
        }
    }

    /// The router's own error behind an error of the driver.
    ///
    /// Statements and transactions speak the driver's language, so that code written for a pool
    /// compiles and handles errors as before. What the router itself has to say travels inside of
    /// [`sqlx::Error::Io`]; that a statement cannot be run on a router is a
    /// [`sqlx::Error::InvalidArgument`].
    ///
    /// ```
    /// fn status(error: &sqlx::Error) -> u16 {
    ///     match lagwise::Error::behind(error) {
    ///         Some(error) if error.is_unavailable() => 503,
    ///         _ => 500,
    ///     }
    /// }
    /// # assert_eq!(status(&sqlx::Error::RowNotFound), 500);
    /// ```
    #[must_use]
    pub fn behind(error: &sqlx::Error) -> Option<&Self> {
        match error {
            sqlx::Error::Io(error) => error.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    /// What the database or its pool said.
    #[must_use]
    pub fn as_sqlx(&self) -> Option<&sqlx::Error> {
        match &*self.0 {
            Kind::Database { source, .. } | Kind::InFlight { source, .. } => Some(source),
            _ => None,
        }
    }

    pub(crate) fn closed() -> Self {
        Self(Box::new(Kind::Closed))
    }

    pub(crate) fn config(faults: Vec<String>) -> Self {
        Self(Box::new(Kind::Config(faults)))
    }

    pub(crate) fn deposed(node: &Arc<str>) -> Self {
        let node = Arc::clone(node);
        Self(Box::new(Kind::Deposed { node }))
    }

    pub(crate) fn in_flight(node: &Arc<str>, source: sqlx::Error) -> Self {
        let node = Arc::clone(node);
        Self(Box::new(Kind::InFlight { node, source }))
    }

    pub(crate) fn no_primary() -> Self {
        Self(Box::new(Kind::NoPrimary))
    }

    pub(crate) fn not_ready(missing: String) -> Self {
        Self(Box::new(Kind::NotReady { missing }))
    }

    pub(crate) fn overloaded() -> Self {
        Self(Box::new(Kind::Overloaded))
    }

    pub(crate) fn read_only() -> Self {
        Self(Box::new(Kind::ReadOnly))
    }

    pub(crate) fn no_keys() -> Self {
        Self::misused(
            "the router has no keys, so that its sessions cannot leave this process: give its \
             builder .keys(Keys::from_env(..)?)"
                .to_owned(),
        )
    }

    pub(crate) fn statement(message: String) -> Self {
        Self(Box::new(Kind::Statement(message)))
    }

    pub(crate) fn unavailable(rejections: Vec<(Arc<str>, Rejection)>) -> Self {
        Self(Box::new(Kind::Unavailable { rejections }))
    }

    pub(crate) fn timed_out() -> Self {
        Self(Box::new(Kind::TimedOut))
    }

    pub(crate) fn too_early(delay: Duration) -> Self {
        Self(Box::new(Kind::TooEarly(delay)))
    }

    pub(crate) fn misused(message: String) -> Self {
        Self(Box::new(Kind::Misused(message)))
    }

    pub(crate) fn on_node(node: &Arc<str>, source: sqlx::Error) -> Self {
        Self(Box::new(Kind::Database {
            node: Some(Arc::clone(node)),
            source,
            sent: false,
        }))
    }

    /// The same of something that had been sent.
    pub(crate) fn sent(mut self) -> Self {
        if let Kind::Database { sent, .. } = &mut *self.0 {
            *sent = true;
        }
        self
    }
}

/// Whether a write that failed with an error of the driver may have taken effect all the same.
///
/// For errors of statements on a handle or a pool, and of a commit: see
/// [`Error::may_have_been_applied`].
///
/// ```
/// let refused = sqlx::Error::PoolTimedOut;
/// assert!(!lagwise::may_have_been_applied(&refused), "it was never sent");
/// let cut = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
/// assert!(lagwise::may_have_been_applied(&cut));
/// ```
#[must_use]
pub fn may_have_been_applied(error: &sqlx::Error) -> bool {
    if let Some(ours) = Error::behind(error) {
        return ours.may_have_been_applied();
    }
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => true,
        // Statement completion unknown, and a server that went down: it may have committed before
        // (PostgreSQL manual, appendix A).
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            matches!(&*code, "40003" | "57P01" | "57P02" | "57P03") || code.starts_with("08")
        }),
        _ => false,
    }
}

impl From<sqlx::Error> for Error {
    /// What the router itself had to say comes out as it went in: see [`Error::behind`].
    fn from(error: sqlx::Error) -> Self {
        let source = match error {
            sqlx::Error::Io(error) => match error.downcast() {
                Ok(ours) => return ours,
                Err(error) => sqlx::Error::Io(error),
            },
            other => other,
        };
        Self(Box::new(Kind::Database {
            node: None,
            source,
            // Where it comes from is not known here.
            sent: true,
        }))
    }
}

impl From<Error> for sqlx::Error {
    /// What the database said, as it said it; anything else as [`Error::behind`] finds it again.
    fn from(error: Error) -> Self {
        let kind = match *error.0 {
            Kind::Database { source, .. } => return source,
            Kind::Statement(message) => return Self::InvalidArgument(message),
            Kind::Closed => io::ErrorKind::NotConnected,
            Kind::ReadOnly => io::ErrorKind::PermissionDenied,
            Kind::Config(_) | Kind::Misused(_) => io::ErrorKind::InvalidInput,
            Kind::NotReady { .. } | Kind::TimedOut => io::ErrorKind::TimedOut,
            Kind::Deposed { .. } | Kind::InFlight { .. } => io::ErrorKind::ConnectionAborted,
            Kind::NoPrimary | Kind::Overloaded | Kind::TooEarly(_) | Kind::Unavailable { .. } => {
                io::ErrorKind::ResourceBusy
            }
        };
        Self::Io(io::Error::new(kind, error))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Closed => f.write_str("the router is closed"),
            Kind::ReadOnly => f.write_str(
                "the session is read-only here, and this is not known to be a read: write through \
                 its allow_writes(), or declare what it names with the builder's reads(..)",
            ),
            Kind::Misused(message) | Kind::Statement(message) => f.write_str(message),
            Kind::Config(faults) => write!(f, "the router cannot be built: {}", faults.join("; ")),
            Kind::Database {
                node: Some(node), ..
            } => write!(f, "{node} failed"),
            Kind::Database { node: None, .. } => f.write_str("the database failed"),
            Kind::Deposed { node } => write!(
                f,
                "another node was promoted while a transaction ran on {node}: nothing of it was \
                 applied, begin it again"
            ),
            Kind::InFlight { node, .. } => write!(
                f,
                "{node} failed while a write was under way: it may have been applied"
            ),
            Kind::NoPrimary => f.write_str("no node accepts writes, as far as the monitor knows"),
            Kind::NotReady { missing } => write!(f, "the cluster is not ready: {missing}"),
            Kind::TimedOut => f.write_str("the read's deadline has passed"),
            Kind::TooEarly(delay) => write!(
                f,
                "no replica has what the job must see: try again in {delay:?}"
            ),
            Kind::Overloaded => {
                f.write_str("the primary's budget for reads that wanted a replica is spent")
            }
            Kind::Unavailable { rejections } => {
                let reasons: Vec<String> = rejections
                    .iter()
                    .map(|(node, rejection)| format!("{node} is {rejection}"))
                    .collect();
                write!(f, "no node can serve the read: {}", reasons.join("; "))
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &*self.0 {
            Kind::Database { source, .. } | Kind::InFlight { source, .. } => Some(source),
            _ => None,
        }
    }
}
