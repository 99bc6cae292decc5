//! The primary, as far as it tells what it has run.
//!
//! The view of statements has had other columns in each version and depends on how the server was
//! started, on an extension and on privileges; whatever is missing is said with what mends it. It is
//! asked one question at a time, within a limit. What the answers mean is `workload`'s business.

use std::time::Duration;

use lagwise::Role;
use lagwise::config::{Config, Node};
use lagwise_core::{Catalog, Overrides};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Postgres, Row as _};

use crate::failure::Failure;
use crate::server;
use crate::trouble::Trouble;
use crate::vitals::Unwell;

use super::sample::{Counted, Key, Sample};

/// What stands in place of the text of another role's statement.
const HIDDEN: &str = "<insufficient privilege>";

/// What all that lagwise asks of servers by itself is marked with, its monitors in applications too. It is
/// no work of an application's. Not at the beginning: what stands before a statement is not kept by
/// every version.
const OWN: &str = "/* lagwise */";

/// The text of another role's statement may be hidden, and one that the server has lost is null.
const NOT_OWN: &str = "coalesce(query, '') not like '%/* lagwise */%'";

/// A connection to the primary.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    connection: PgConnection,
    /// The schema of the extension, quoted.
    schema: String,
    limit: Duration,
}

impl Source {
    /// Connects to whichever node is the primary.
    pub(super) async fn find(
        config: &Config,
        database: Option<&str>,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let mut found = None;
        let mut unmet = Vec::new();
        let mut troubled = false;
        for node in config
            .nodes()
            .iter()
            .filter(|node| node.role() != Some(Role::Replica))
        {
            match connect(node, database, limit).await {
                Ok(Some(source)) => {
                    found = Some(source);
                    break;
                }
                Ok(None) => unmet.push(format!("{} is a replica", node.name())),
                Err(trouble) => {
                    troubled = true;
                    unmet.push(format!("{} {}", node.name(), trouble.words()));
                }
            }
        }
        let Some(mut source) = found else {
            let unmet = unmet.join("; ");
            return Err(Failure::Assess(match troubled {
                true => format!("the primary could not be asked: {unmet}"),
                false => format!(
                    "no primary was found: {unmet}; what ran is counted where it ran, so name the server that accepts writes"
                ),
            }));
        };
        source.schema = source.find_extension().await?;
        Ok(source)
    }

    /// The server and its database, without passwords.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What its catalog says of the names in statements.
    pub(super) async fn catalog(&mut self, overrides: &Overrides) -> Result<Catalog, Failure> {
        let limit = self.limit;
        let read = lagwise::read_catalog::<Postgres>(&mut self.connection, overrides);
        match tokio::time::timeout(limit, read).await {
            Ok(Ok(catalog)) => Ok(catalog),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_elapsed) => Err(self.late()),
        }
    }

    /// What was counted by now.
    pub(super) async fn sample(&mut self) -> Result<Sample, Failure> {
        let schema = self.schema.clone();
        let here = "dbid = (select oid from pg_database where datname = current_database())";
        let statements = format!(
            "select {OWN} userid::int8, queryid, query, calls, total_exec_time / 1000 \
             from {schema}.pg_stat_statements s \
             where {here} and {NOT_OWN} and coalesce((to_jsonb(s) ->> 'toplevel')::bool, true)"
        );
        let mut sample = self.sums(&schema, here).await?;
        for row in self.ask(&statements).await? {
            let read = || -> Result<(Key, Counted), sqlx::Error> {
                let text: Option<String> = row.try_get(2)?;
                let key = Key {
                    user: row.try_get(0)?,
                    query: row.try_get(1)?,
                };
                let counted = Counted {
                    text: text.filter(|text| text != HIDDEN),
                    calls: row.try_get(3)?,
                    seconds: row.try_get(4)?,
                };
                Ok((key, counted))
            };
            let (key, counted) = read().map_err(|error| self.failed(&error))?;
            sample.add(key, counted);
        }
        Ok(sample)
    }

    /// What is said of all statements together.
    async fn sums(&mut self, schema: &str, here: &str) -> Result<Sample, Failure> {
        let info = format!(
            "select {OWN} exists (select from pg_class where relname = 'pg_stat_statements_info')"
        );
        let has_info = self.ask_one(&info).await?;
        let (reset, evictions) = match has_info {
            true => ("stats_reset", "dealloc"),
            false => ("null::timestamptz", "null::int8"),
        };
        let from = match has_info {
            true => format!("{schema}.pg_stat_statements_info"),
            false => "(select) nothing".to_owned(),
        };
        let question = format!(
            "select {OWN} to_char({reset} at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'), \
               extract(epoch from clock_timestamp() - {reset})::float8, \
               extract(epoch from clock_timestamp())::float8, {evictions}, \
               (select coalesce(sum(total_exec_time), 0) / 1000 \
                 from {schema}.pg_stat_statements where not ({here}) and {NOT_OWN})::float8, \
               current_setting('pg_stat_statements.track_utility', true)::bool \
             from {from}"
        );
        let rows = self.ask(&question).await?;
        let Some(row) = rows.first() else {
            return Ok(Sample::default());
        };
        let read = || -> Result<Sample, sqlx::Error> {
            Ok(Sample {
                reset: row.try_get(0)?,
                seconds: row.try_get(1)?,
                clock: row.try_get(2)?,
                evictions: row.try_get(3)?,
                elsewhere: row.try_get(4)?,
                counts_utility: row.try_get(5)?,
                ..Sample::default()
            })
        };
        read().map_err(|error| self.failed(&error))
    }

    async fn find_extension(&mut self) -> Result<String, Failure> {
        let found = format!(
            "select {OWN} quote_ident(n.nspname) from pg_extension e \
                     join pg_namespace n on n.oid = e.extnamespace where extname = 'pg_stat_statements'"
        );
        let rows = self.ask(&found).await?;
        let schema = rows.first().and_then(|row| row.try_get(0).ok());
        schema.ok_or_else(|| {
            Failure::Assess(format!(
                "{} does not count statements: the extension pg_stat_statements is not in this database. {REMEDY}",
                self.name
            ))
        })
    }

    async fn ask_one(&mut self, question: &str) -> Result<bool, Failure> {
        let rows = self.ask(question).await?;
        Ok(rows
            .first()
            .is_some_and(|row| row.try_get(0).unwrap_or(false)))
    }

    async fn ask(&mut self, question: &str) -> Result<Vec<sqlx::postgres::PgRow>, Failure> {
        let limit = self.limit;
        let rows = sqlx::query(AssertSqlSafe(question)).fetch_all(&mut self.connection);
        match tokio::time::timeout(limit, rows).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_elapsed) => Err(self.late()),
        }
    }

    fn failed(&self, error: &sqlx::Error) -> Failure {
        let code = error.as_database_error().and_then(|error| error.code());
        let name = &self.name;
        let trouble = Trouble::of_error(error);
        let words = trouble.words();
        Failure::Assess(match code.as_deref() {
            // Not loaded: the view is there, and what it shows is not.
            Some("55000") => format!("{name} does not count statements: {words}. {REMEDY}"),
            Some("42703") => format!(
                "{name} has an old version of pg_stat_statements: {words}. \
                 Mend it with `alter extension pg_stat_statements update`"
            ),
            _ => format!("{name} {words}"),
        })
    }

    fn late(&self) -> Failure {
        let limit = crate::format::short(self.limit);
        let name = &self.name;
        Failure::Assess(format!(
            "{name} did not answer within {limit}; raise --timeout"
        ))
    }
}

const REMEDY: &str = "Mend it with `alter system set shared_preload_libraries = 'pg_stat_statements'` \
                      (beside those already in it) and a restart, \
                      then `create extension pg_stat_statements` in this database";

async fn connect(
    node: &Node,
    database: Option<&str>,
    limit: Duration,
) -> Result<Option<Source>, Trouble> {
    let mut options = node.options().clone().application_name("lagwise");
    if let Some(database) = database {
        options = options.database(database);
    }
    let connected = tokio::time::timeout(limit, server::greet(&options)).await;
    let connected = connected.map_err(|_elapsed| Trouble::of(&Unwell::Late(limit)))?;
    let (connection, is_primary) = connected.map_err(|error| Trouble::of_error(&error))?;
    let source = Source {
        name: name(&options),
        connection,
        schema: String::new(),
        limit,
    };
    Ok(is_primary.then_some(source))
}

fn name(options: &PgConnectOptions) -> String {
    let database = options
        .get_database()
        .unwrap_or_else(|| options.get_username());
    format!("{}/{database}", server::address(options))
}
