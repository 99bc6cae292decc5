//! How far a node has come, and waits for it to come further.
//!
//! What a test asks of a healthy cluster is always the same: it answers, it streams, it has seen a
//! write. Each is a condition with a deadline. Conditions that concern a test's own data are for
//! `Cluster::wait_until`.

use super::Node;
use crate::error::{Error, Result};

impl Node {
    /// Waits till the server answers a query.
    ///
    /// # Errors
    ///
    /// At the deadline, with the end of its log.
    pub async fn wait_ready(&self) -> Result<()> {
        let answers = async || self.ask::<bool>("select true").await;
        self.wait("the server answers a query", answers).await
    }

    /// Waits till this standby streams from the node it follows.
    ///
    /// # Errors
    ///
    /// At the deadline, with the end of its log; at once where it follows no one.
    pub async fn wait_streaming(&self) -> Result<()> {
        let upstream = self.upstream().clone();
        let upstream =
            upstream.ok_or_else(|| Error::new(format!("{} follows no other node", self.name())))?;
        let what = format!("it streams from {}", upstream.name());
        self.wait(&what, || self.streams_from(&upstream)).await
    }

    /// Whether this standby streams from another node, as both see it.
    ///
    /// One that has what a new primary has not streams the history that they share again and again,
    /// for an instant each time. So it has to be on the timeline that the primary writes.
    ///
    /// # Errors
    ///
    /// Where one of them does not answer.
    pub async fn streams_from(&self, upstream: &Self) -> Result<bool> {
        let sends = format!(
            "select case when exists (select from pg_stat_replication \
               where application_name = '{}' and state = 'streaming') \
             then case when pg_is_in_recovery() then '0' \
               else left(pg_walfile_name(pg_current_wal_lsn()), 8) end \
             else 'none' end",
            self.name(),
        );
        let timeline = upstream.ask::<String>(&sends).await?;
        if timeline == "none" {
            return Ok(false);
        }
        // Either side alone may not have noticed yet that the other has gone.
        let receives = format!(
            "select exists (select from pg_stat_wal_receiver where status = 'streaming' \
             and ('{timeline}' = '0' or received_tli = ('x' || lpad('{timeline}', 8, '0'))::bit(32)::int))"
        );
        self.ask(&receives).await
    }

    /// Waits till this standby has replayed the log up to `lsn`, such as `0/3000060`.
    ///
    /// # Errors
    ///
    /// At the deadline, with the end of its log.
    pub async fn wait_replayed(&self, lsn: &str) -> Result<()> {
        let query = format!("select pg_last_wal_replay_lsn() >= '{lsn}'");
        let what = format!("it has replayed {lsn}");
        self.wait(&what, || self.ask::<bool>(&query)).await
    }

    /// The end of the log: of what a primary has written, or a standby has replayed.
    ///
    /// A primary's is one a standby can reach: where it points past the header of a page that holds
    /// no record yet, it is set back before the header.
    ///
    /// # Errors
    ///
    /// Where the server does not answer.
    pub async fn lsn(&self) -> Result<String> {
        // Headers take 40 bytes at the beginning of a segment, and 24 of any other page.
        let query = "select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else (
             select case
               when (lsn - '0/0') % segment.setting::numeric = 40 then lsn - 40::numeric
               when (lsn - '0/0') % page.setting::numeric = 24 then lsn - 24::numeric
               else lsn end
             from pg_current_wal_insert_lsn() lsn, pg_settings segment, pg_settings page
             where segment.name = 'wal_segment_size' and page.name = 'wal_block_size'
           ) end::text";
        self.query_scalar(query).await
    }
}
