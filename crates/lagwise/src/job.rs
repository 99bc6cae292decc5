//! Sessions that go on in a job.
//!
//! A job that is enqueued right after a write runs on another machine, and often before any replica
//! has the write. Its payload carries the session's token, and the job says by name what it wants to
//! be done while no replica has it: read from the primary at once, wait and then fall back, or come
//! back later. The rule kept here: a job whose token is missing, too old or no good never reads less
//! than one whose token is good. How jobs are queued and put back is not this module's business.

use std::fmt;
use std::time::Duration;

use lagwise_core::{Fallback, Instant, Rejection, Rejections};

use crate::backend::Backend;
use crate::error::Error;
use crate::observe;
use crate::options::ReadOptions;
use crate::router::Router;
use crate::routing::{self, Outlook};
use crate::session::Session;
use crate::token::{Keys, Token};

/// What a job does while no replica has what it must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a queue that keeps it must know every one"
)]
pub enum Consistency {
    /// It never asks a replica: all of its reads go to the primary, as asked for, and spend none of
    /// the fallback's budget. For jobs that are few, or read what others write all the time.
    Primary,
    /// It waits for a replica for a while, and then runs all the same: its reads fall back to the
    /// primary within its [`Budget`](crate::Budget). For jobs that must not be late.
    Sticky,
    /// It waits for a replica for a while, and is put back then: it does not run before a replica has
    /// what it must see, and none of its reads falls back to the primary. For jobs that may be late.
    Delayed,
}

impl Consistency {
    /// Its name in payloads, output and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Sticky => "sticky",
            Self::Delayed => "delayed",
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a job is taken up: a [`Consistency`], and how long it waits.
///
/// ```
/// use std::time::Duration;
/// use lagwise::{Consistency, JobOptions};
///
/// let patient = JobOptions::new(Consistency::Delayed).wait(Duration::from_secs(5));
/// # drop(patient);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct JobOptions {
    consistency: Consistency,
    wait: Duration,
}

impl JobOptions {
    /// A job of that consistency, which waits for a second.
    #[must_use]
    pub const fn new(consistency: Consistency) -> Self {
        Self {
            consistency,
            wait: Duration::from_secs(1),
        }
    }

    /// How long it waits for a replica: when it is taken up, and at each of its reads. 1 s unless
    /// set; nobody watches a job, so that is longer than what a request waits.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

impl From<Consistency> for JobOptions {
    fn from(consistency: Consistency) -> Self {
        Self::new(consistency)
    }
}

impl<DB: Backend> Router<DB> {
    /// The session of a job, by the token in its payload: what the job reads in it shows all that
    /// was written and seen in the session that enqueued it.
    ///
    /// A job without a token, or with one that is no good or older than the keys'
    /// [`max_age`](Keys::max_age), sees everything that was acknowledged before it was taken up: that
    /// is at least what the token said. So a token may well outlive its age in a queue.
    ///
    /// ```no_run
    /// # async fn put_back(_: std::time::Duration) {}
    /// # async fn example(db: lagwise::PgRouter, token: Option<lagwise::Token>) -> Result<(), Box<dyn std::error::Error>> {
    /// use lagwise::Consistency;
    ///
    /// match db.resume_job(token.as_ref(), Consistency::Delayed).await {
    ///     Ok(session) => {
    ///         let due: i64 = sqlx::query_scalar("select count(*) from notes").fetch_one(&session).await?;
    ///         # drop(due);
    ///     }
    ///     Err(error) => match error.retry_after() {
    ///         Some(delay) => put_back(delay).await,
    ///         None => return Err(error.into()),
    ///     },
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// [`Consistency::Sticky`] and [`Consistency::Delayed`] wait here until a replica has what the
    /// job must see. A replica that is out of rotation is not waited for. Where all replicas are
    /// [balanced](crate::NodeConfig::balanced), a delayed job waits for the sticky window at least. Where the router has no
    /// replica at all, every job runs on the primary at once.
    ///
    /// A read of a delayed job is refused with an error that
    /// [is unavailable](Error::is_unavailable) if no replica has what it needs within its wait, also
    /// when the job has just written that. So such a job reads first and writes last, and does no
    /// harm when it runs twice.
    ///
    /// # Errors
    /// Of a delayed job, one whose [`retry_after`](Error::retry_after) says when to try again; that
    /// the router is closed.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn resume_job(
        &self,
        token: Option<&Token>,
        options: impl Into<JobOptions>,
    ) -> Result<Session<DB>, Error> {
        self.take_up_job(token, None, options.into()).await
    }

    /// [`Router::resume_job`] with a token that was made for `binding` by
    /// [`Session::token_for`](crate::Session::token_for).
    ///
    /// # Errors
    /// As [`Router::resume_job`].
    ///
    /// # Cancel safety
    /// As [`Router::resume_job`].
    pub async fn resume_job_for(
        &self,
        token: Option<&Token>,
        binding: &str,
        options: impl Into<JobOptions>,
    ) -> Result<Session<DB>, Error> {
        self.take_up_job(token, Some(binding), options.into()).await
    }

    /// One token that says what both say: for a job that was enqueued twice and is to run once.
    ///
    /// Where one of them is no good, the job will see everything that was acknowledged before it is
    /// taken up. None if neither is good, or the router has no keys: a job without a token sees just
    /// that.
    ///
    /// ```no_run
    /// # fn example(db: &lagwise::PgRouter, queued: lagwise::Token, again: lagwise::Token) {
    /// let token: Option<lagwise::Token> = db.merge_tokens(&queued, &again);
    /// # drop(token); }
    /// ```
    #[must_use]
    pub fn merge_tokens(&self, one: &Token, other: &Token) -> Option<Token> {
        merge(self.shared().keys.as_ref()?, one, other, None)
    }

    /// [`Router::merge_tokens`] of two that were made for the same `binding`, as is the one returned.
    #[must_use]
    pub fn merge_tokens_for(&self, one: &Token, other: &Token, binding: &str) -> Option<Token> {
        merge(self.shared().keys.as_ref()?, one, other, Some(binding))
    }

    async fn take_up_job(
        &self,
        token: Option<&Token>,
        binding: Option<&str>,
        options: JobOptions,
    ) -> Result<Session<DB>, Error> {
        let session = self.session();
        let known = token.is_some_and(|token| session.take_up(token, binding).is_ok());
        if !known {
            session.take_up_unknown();
        }
        session.for_job(options).await
    }
}

impl<DB: Backend> Session<DB> {
    /// This session, as that of a job: see [`Router::resume_job`] for what it waits for and does.
    ///
    /// For a job whose row was written in one transaction with what it is about, so that it could
    /// hold no token. Claim the row on the primary, and run the job in the session that claimed it:
    /// whoever saw the row was there after that transaction.
    ///
    /// ```no_run
    /// # async fn example(db: lagwise::PgRouter) -> Result<(), Box<dyn std::error::Error>> {
    /// use lagwise::Consistency;
    ///
    /// let session = db.session();
    /// let note: i64 = sqlx::query_scalar(
    ///     "delete from jobs where id = (select id from jobs for update skip locked limit 1)
    ///      returning note",
    /// )
    /// .fetch_one(&session)
    /// .await?;
    /// let job = session.for_job(Consistency::Sticky).await?;
    /// let body: String = sqlx::query_scalar("select body from notes where id = $1")
    ///     .bind(note)
    ///     .fetch_one(&job)
    ///     .await?;
    /// # drop(body); Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Router::resume_job`].
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn for_job(&self, options: impl Into<JobOptions>) -> Result<Self, Error> {
        let JobOptions { consistency, wait } = options.into();
        let wait = wait.max(self.least_wait(consistency));
        let patient = ReadOptions::new().wait(wait).fallback(Fallback::Refuse);
        let outlook = match consistency {
            Consistency::Primary => Outlook::NoReplica,
            Consistency::Sticky | Consistency::Delayed => {
                routing::look_out(self.caller(), patient).await?
            }
        };
        let (reads, outcome) = match (consistency, outlook) {
            (Consistency::Primary, _) => (ReadOptions::primary(), "primary"),
            (_, Outlook::NoReplica) => (ReadOptions::new(), "primary"),
            (Consistency::Sticky, Outlook::Replica) => {
                (patient.fallback(Fallback::Primary), "replica")
            }
            // It has waited long enough: its reads wait no longer than anybody's.
            (Consistency::Sticky, Outlook::Nobody(_)) => {
                (ReadOptions::new().fallback(Fallback::Primary), "fell_back")
            }
            (Consistency::Delayed, Outlook::Replica) => (patient, "replica"),
            (Consistency::Delayed, Outlook::Nobody(rejections)) => {
                observe::job_resumed(consistency, "delayed");
                return Err(Error::too_early(delay(&rejections)));
            }
        };
        observe::job_resumed(consistency, outcome);
        Ok(self.with_reads(reads))
    }

    /// A balanced node has nothing until the sticky window has passed since a job came in. Where there
    /// are no others, a delayed job that waits for less would be put back for ever.
    fn least_wait(&self, consistency: Consistency) -> Duration {
        let snapshot = self.router().snapshot();
        let guesses = snapshot.replicas().all(|node| node.spec.balanced);
        if guesses && consistency == Consistency::Delayed {
            snapshot.policy.sticky_window
        } else {
            Duration::ZERO
        }
    }
}

fn merge(keys: &Keys, one: &Token, other: &Token, binding: Option<&str>) -> Option<Token> {
    let opened = [one, other].map(|token| keys.open(token, binding));
    let claim = match opened {
        [Ok(one), Ok(other)] => one.merge(other),
        // What the bad one said is not known. It was said before this is taken up.
        [Ok(mut known), Err(_)] | [Err(_), Ok(mut known)] => {
            known.beyond = true;
            known
        }
        [Err(_), Err(_)] => return None,
    };
    Some(keys.sign(&claim, binding))
}

/// When it is worth trying again: after as long as the nearest replica is short of what is needed,
/// and a bit, so that jobs which were put back together do not all return at once.
fn delay(rejections: &Rejections) -> Duration {
    let short = rejections
        .iter()
        .filter_map(|(_, rejection)| shortfall(rejection));
    let least = short.min().unwrap_or(USUAL).clamp(SHORTEST, LONGEST);
    least + least.mul_f64(fastrand::f64() / 2.0)
}

fn shortfall(rejection: Rejection) -> Option<Duration> {
    match rejection {
        Rejection::BehindFloor {
            needed: Instant::NEVER,
            ..
        } => None,
        Rejection::BehindFloor { needed, as_of } => as_of.map(|as_of| needed.since(as_of)),
        _ => None,
    }
}

/// Where nothing says how long a replica will take.
const USUAL: Duration = Duration::from_secs(1);

/// Sooner than that, a queue would be asked more often than a replica is.
const SHORTEST: Duration = Duration::from_millis(100);

/// A replica that is further behind than that may return at any time.
const LONGEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use lagwise_core::{Claim, Lsn, SystemId, Timeline};

    use super::*;
    use crate::clock;

    fn keys(secret: &str) -> Keys {
        Keys::new(format!("{secret}-of-at-least-thirty-two-bytes")).unwrap()
    }

    fn claim(lsn: u64) -> Claim {
        let mut claim = Claim::new(SystemId::new(7), Timeline::new(1), clock::wall());
        claim.lsn = Some(Lsn::new(lsn));
        claim
    }

    #[test]
    fn of_two_tokens_the_greater_position_is_kept() {
        let keys = keys("secret");
        let [one, other] = [10, 20].map(|lsn| keys.sign(&claim(lsn), None));
        for (one, other) in [(&one, &other), (&other, &one)] {
            let merged = merge(&keys, one, other, None).unwrap();
            let merged = keys.open(&merged, None).unwrap();
            assert_eq!((merged.lsn, merged.beyond), (Some(Lsn::new(20)), false));
        }
    }

    #[test]
    fn a_token_that_is_no_good_leaves_one_that_says_everything_up_to_its_arrival() {
        let (ours, theirs) = (keys("secret"), keys("another"));
        let good = ours.sign(&claim(10), None);
        let bad = theirs.sign(&claim(20), None);
        let merged = merge(&ours, &good, &bad, None).unwrap();
        let merged = ours.open(&merged, None).unwrap();
        assert_eq!((merged.lsn, merged.beyond), (Some(Lsn::new(10)), true));
        assert!(merge(&ours, &bad, &bad, None).is_none());
    }

    #[test]
    fn a_merged_token_is_bound_as_both_were() {
        let keys = keys("secret");
        let [one, other] = [10, 20].map(|lsn| keys.sign(&claim(lsn), Some("ada")));
        assert!(merge(&keys, &one, &other, None).is_none());
        let merged = merge(&keys, &one, &other, Some("ada")).unwrap();
        assert!(keys.open(&merged, None).is_err());
        assert!(keys.open(&merged, Some("ada")).is_ok());
    }

    #[test]
    fn nobody_is_asked_to_return_at_once_or_never() {
        for _ in 0..100 {
            let delay = delay(&Rejections::default());
            assert!((USUAL..=USUAL.mul_f64(1.5)).contains(&delay), "{delay:?}");
        }
    }
}
