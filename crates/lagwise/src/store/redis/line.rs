//! The connection to Redis, shared by all, and opened again when it is lost.
//!
//! Whoever asks on one that is gone learns so at once and opens the next, one at a time. A connection
//! on which somebody waited in vain is given up: the packets may be lost for good. Deadlines are the
//! caller's.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError, ScriptInvocation};

use crate::store::StoreError;

/// The way to one Redis.
pub(super) struct Line {
    client: Client,
    open: Mutex<Option<MultiplexedConnection>>,
    opening: tokio::sync::Mutex<()>,
}

impl Line {
    pub(super) fn to(url: &str) -> Result<Self, Failure> {
        Ok(Self {
            client: Client::open(url).map_err(|_| Failure::Address)?,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        })
    }

    /// Runs a script. A failure comes with whether the connection had been open before.
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, (Failure, bool)> {
        let open = self.open().clone();
        let was_open = open.is_some();
        let mut connection = match open {
            Some(connection) => connection,
            None => self.connect().await.map_err(|failure| (failure, false))?,
        };
        let answer = invocation.invoke_async(&mut connection).await;
        answer.map_err(|error| {
            let failure = Failure::of(&error);
            if matches!(failure, Failure::Lost) {
                self.give_up();
            }
            (failure, was_open)
        })
    }

    /// Whoever asks next opens another connection.
    pub(super) fn give_up(&self) {
        *self.open() = None;
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let _opening = self.opening.lock().await;
        if let Some(connection) = self.open().clone() {
            return Ok(connection);
        }
        let no_deadlines = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connected = self
            .client
            .get_multiplexed_async_connection_with_config(&no_deadlines)
            .await;
        let connection = connected.map_err(|error| Failure::of(&error))?;
        *self.open() = Some(connection.clone());
        Ok(connection)
    }

    fn open(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why Redis did not do as it was asked. The driver's errors may quote what they were about, so none
/// of them is kept.
#[derive(Debug)]
pub(super) enum Failure {
    Address,
    Lost,
    /// With the code of the error, such as `OOM` or `READONLY`.
    Refused(String),
    Skipped,
    TimedOut,
    Unreadable,
}

impl Failure {
    fn of(error: &RedisError) -> Self {
        match error.code() {
            Some(code) => Self::Refused(code.to_owned()),
            None => Self::Lost,
        }
    }

    pub(super) fn into_error(self) -> StoreError {
        StoreError::new(self)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("the URL of Redis is none, or needs a feature for TLS"),
            Self::Lost => f.write_str("Redis cannot be reached"),
            Self::Refused(code) => write!(f, "Redis refused: {code}"),
            Self::Skipped => f.write_str("Redis did not answer lately, and was not asked"),
            Self::TimedOut => f.write_str("Redis did not answer in time"),
            Self::Unreadable => f.write_str("what Redis keeps of the session cannot be read"),
        }
    }
}

impl StdError for Failure {}
