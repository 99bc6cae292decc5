//! A job queue in PostgreSQL, and workers that read on replicas what their jobs are about.
//!
//! `web` writes documents and enqueues a job for each write, `queue` keeps the jobs in a table,
//! `worker` claims and runs them, and `report` says where their reads went. What a job must see
//! travels with it, in one of two ways: as the session's token in its payload, or, where the job is
//! written in the same transaction as the document and no token can be known yet, by the claim: it is
//! made on the primary in the session that the job then reads in.

pub mod failure;
pub mod nodes;
pub mod plan;
pub mod queue;
pub mod report;
pub mod run;
pub mod web;
pub mod worker;
