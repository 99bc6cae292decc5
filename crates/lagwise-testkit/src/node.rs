//! One node of a cluster: its addresses, its SQL and its life.
//!
//! A node is a server together with the two wires that lead to it and to the node it follows. Its
//! name, its addresses and its folder stay the same whatever happens to the server and whatever its
//! role becomes. Faults of replay and of processes are in `node::faults`, changes of role in
//! `node::role`, how far it has come in `node::progress`; processes as such are `server`'s business.

mod faults;
mod progress;
mod role;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnection;

use crate::error::{Error, Result};
use crate::server::{Launch, Server, Stop};
use crate::settings::Settings;
use crate::sql::{self, Scalar};
use crate::template::Recipe;
use crate::wait;
use crate::wire::{Listens, Relays, Wire};

/// One server of a [`Cluster`](crate::Cluster), and all that can be done to it.
///
/// A clone is another handle to the same node. Methods that ask the server for something go over
/// its Unix socket, past all wires; each gives up after the builder's
/// [`patience`](crate::Builder::patience), with the end of the server's log.
///
/// # Cancel safety
///
/// Waits can be dropped and asked for again. A call of several steps, such as
/// [`restart`](Self::restart) or [`rejoin`](Self::rejoin), is left at the step it was at: the node
/// may be stopped then, and can be started or rejoined as usual.
#[derive(Clone, Debug)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    makings: Makings,
    server: Server,
    settings: Mutex<Settings>,
    client_wire: Wire,
    upstream_wire: Wire,
    /// The node this one follows, while it is a standby.
    upstream: Mutex<Option<Node>>,
}

/// What the builder makes a node from.
#[derive(Debug)]
pub(crate) struct Makings {
    pub(crate) name: String,
    /// The port of the address for clients, where it was asked for.
    pub(crate) port: Option<u16>,
    pub(crate) settings: Settings,
    /// Lines that go before the template's.
    pub(crate) hba: Vec<String>,
    pub(crate) recipe: Arc<Recipe>,
    pub(crate) patience: Duration,
}

impl Node {
    /// Makes the node's folder and wires, but no server yet.
    pub(crate) fn make(makings: Makings, cluster: &Path, relays: &Relays) -> Result<Self> {
        let Recipe {
            account,
            installation,
            ..
        } = &*makings.recipe;
        let folder = cluster.join(&makings.name);
        account
            .make_folder(&folder)
            .map_err(|error| Error::because(format!("cannot make {}", folder.display()), error))?;
        let launch = Launch {
            program: installation.program("postgres"),
            data_option: Some("-D"),
            options: Vec::new(),
            socket: ".s.PGSQL.5432".to_owned(),
        };
        let server = Server::new(*account, launch, folder);
        let client_wire = relays.wire_at(Listens::No, makings.port)?;
        client_wire.lead_to(&server.socket());
        let upstream_wire = relays.wire(Listens::Yes)?;
        let mut settings = makings.settings.clone();
        settings.identify(&makings.name, server.folder());
        settings.set("primary_conninfo", conninfo(&makings.name, &upstream_wire));
        let settings = Mutex::new(settings);
        let upstream = Mutex::new(None);
        let inner = Inner {
            makings,
            server,
            settings,
            client_wire,
            upstream_wire,
            upstream,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Starts the server, and waits till it takes connections; one that runs stays as it is.
    ///
    /// # Errors
    ///
    /// Where it ends again or does not get ready, with the end of its log.
    pub async fn start(&self) -> Result<()> {
        let server = &self.inner.server;
        server.spawn()?;
        server.wait_listening(self.patience()).await?;
        // From here on clients hear that the server is starting up, as they would from any other.
        self.inner.client_wire.listen(Listens::Yes);
        server.wait_accepting(self.patience()).await
    }

    /// Stops the server, and waits till it has ended; what is frozen is thawed for it.
    ///
    /// # Errors
    ///
    /// Where it does not end, with the end of its log.
    pub async fn stop(&self, how: Stop) -> Result<()> {
        let stopped = self.inner.server.stop(how, self.patience()).await;
        self.note_end();
        stopped
    }

    /// Kills all processes of the server at once, so that it crashes: the next start recovers.
    ///
    /// # Errors
    ///
    /// Where a process could not be killed.
    pub async fn kill(&self) -> Result<()> {
        let killed = self.inner.server.kill(self.patience()).await;
        self.note_end();
        killed
    }

    /// Stops the server and starts it again.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop) and [`start`](Self::start).
    pub async fn restart(&self, how: Stop) -> Result<()> {
        self.stop(how).await?;
        self.start().await
    }

    /// Runs statements, several if separated by semicolons, and says how many rows they affected.
    ///
    /// # Errors
    ///
    /// Where a statement fails or takes longer than the builder's patience.
    pub async fn execute(&self, statements: &str) -> Result<u64> {
        self.within(
            statements,
            sql::execute(self.inner.server.folder(), statements),
        )
        .await
    }

    /// Runs a query, and returns the first column of its first row.
    ///
    /// # Errors
    ///
    /// Where the query fails, has no row, or takes longer than the builder's patience.
    pub async fn query_scalar<T: Scalar>(&self, query: &str) -> Result<T> {
        self.within(query, self.ask(query)).await
    }

    /// Connects over the Unix socket, past the wire of clients.
    ///
    /// # Errors
    ///
    /// Where the server does not accept the connection.
    pub async fn connect(&self) -> Result<PgConnection> {
        self.connect_to(sql::DATABASE).await
    }

    /// The same to another database than `postgres`.
    ///
    /// # Errors
    ///
    /// Where the server does not accept the connection, or there is no such database.
    pub async fn connect_to(&self, database: &str) -> Result<PgConnection> {
        let folder = self.inner.server.folder();
        self.within("connect", sql::connect(folder, database)).await
    }

    /// Ends the sessions of all clients, and waits till they are gone; returns how many there were.
    ///
    /// # Errors
    ///
    /// Where the server does not answer.
    pub async fn terminate_backends(&self) -> Result<i64> {
        let query = "select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity \
                     where backend_type = 'client backend' and pid <> pg_backend_pid()";
        self.query_scalar(query).await
    }

    /// Changes a setting, and has the server read it.
    ///
    /// Returns when new sessions have it. One that needs a restart waits for that, and a session
    /// that is open has it with its next statement.
    ///
    /// # Errors
    ///
    /// Where the configuration cannot be written, or the server does not read it.
    pub async fn configure(&self, name: &str, value: &str) -> Result<()> {
        self.settings().set(name, value);
        self.write_settings()?;
        if !self.is_running() {
            return Ok(());
        }
        // A new session shows the time at which the first process last read the file.
        let loaded = "select pg_conf_load_time()::text";
        let before = self.query_scalar::<String>(loaded).await?;
        self.inner.server.reload()?;
        let read = async || Ok(self.ask::<String>(loaded).await? != before);
        self.wait("it has read its configuration", read).await
    }

    /// The name: `p` for the primary of the start, else `r1`, `r2` and so on, unless the builder was
    /// given [`names`](crate::Builder::names).
    ///
    /// It is also the server's `cluster_name`, and its `application_name` at the node it follows.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.makings.name
    }

    /// The address for the service under test, by TCP through the [`client_wire`](Self::client_wire).
    ///
    /// It stays the same for the life of the cluster. While the server is down, it refuses.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "postgres://postgres@{}/postgres",
            self.inner.client_wire.address()
        )
    }

    /// The address by Unix socket, past the wire of clients.
    #[must_use]
    pub fn socket_url(&self) -> String {
        let folder = self.inner.server.folder().to_string_lossy();
        format!(
            "postgres:///postgres?host={}&user=postgres",
            percent_encoded(&folder)
        )
    }

    /// The wire between clients that use [`url`](Self::url) and this node.
    #[must_use]
    pub fn client_wire(&self) -> &Wire {
        &self.inner.client_wire
    }

    /// The wire between this node and the one it follows; idle while it follows no one.
    #[must_use]
    pub fn upstream_wire(&self) -> &Wire {
        &self.inner.upstream_wire
    }

    /// Whether the server's first process runs, frozen or not.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.inner.server.is_running()
    }

    /// The folder of the data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.inner.server.data()
    }

    /// The last lines of the server's log.
    #[must_use]
    pub fn log(&self) -> String {
        self.inner.server.log_tail()
    }

    /// Fills the data folder from a template, and writes the settings.
    pub(crate) async fn copy_from(&self, template: &Path) -> Result<()> {
        self.inner
            .makings
            .recipe
            .copy(template, &self.data_dir())
            .await?;
        self.write_hba()?;
        self.write_settings()
    }

    /// Has the server never start again: whoever holds a handle may still try.
    pub(crate) fn retire(&self) {
        self.inner.server.retire();
    }

    /// Reaps the server after the watchdog has ended it.
    pub(crate) fn bury(&self) {
        self.inner.server.bury();
        // Nodes may follow each other, and handles that do would keep each other alive.
        self.upstream().take();
    }

    fn note_end(&self) {
        if !self.is_running() {
            self.inner.client_wire.listen(Listens::No);
        }
    }

    async fn ask<T: Scalar>(&self, query: &str) -> Result<T> {
        sql::query_scalar(self.inner.server.folder(), query).await
    }

    async fn within<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let name = self.name();
        let patience = self.patience();
        let done = match tokio::time::timeout(patience, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Error::because(format!("{name}: `{what}` failed"), error)),
            Err(_) => Err(Error::new(format!(
                "{name}: `{what}` took longer than {patience:?}"
            ))),
        };
        done.map_err(|error| error.with_log(self.log()))
    }

    async fn wait<F, Answer>(&self, what: &str, condition: F) -> Result<()>
    where
        F: FnMut() -> Answer,
        Answer: Future<Output = Result<bool>>,
    {
        let what = format!("{}: {what}", self.name());
        let waited = wait::until_true(self.patience(), &what, condition).await;
        waited.map_err(|error| error.with_log(self.log()))
    }

    fn write_hba(&self) -> Result<()> {
        let own = &self.inner.makings.hba;
        if own.is_empty() {
            return Ok(());
        }
        let path = self.data_dir().join(HBA);
        let template = fs::read_to_string(&path)
            .map_err(|error| Error::because(format!("cannot read {}", path.display()), error))?;
        self.write(HBA, &format!("{}\n{template}", own.join("\n")))
    }

    fn write_settings(&self) -> Result<()> {
        let text = self.settings().render();
        self.write("postgresql.conf", &text)
    }

    fn write(&self, file: &str, contents: &str) -> Result<()> {
        let path = self.data_dir().join(file);
        let written = self.inner.makings.recipe.account.write(&path, contents);
        written.map_err(|error| Error::because(format!("cannot write {}", path.display()), error))
    }

    fn patience(&self) -> Duration {
        self.inner.makings.patience
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.inner
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn upstream(&self) -> MutexGuard<'_, Option<Self>> {
        self.inner
            .upstream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who may connect, and how they have to prove it.
const HBA: &str = "pg_hba.conf";

/// How a standby of that name connects through its wire, whatever the environment says.
fn conninfo(name: &str, wire: &Wire) -> String {
    format!(
        "host={} port={} user=postgres application_name={name} sslmode=disable gssencmode=disable",
        wire.address().ip(),
        wire.address().port(),
    )
}

/// A path as a value in the query of a URL.
fn percent_encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_url_keeps_its_slashes_and_loses_its_spaces() {
        assert_eq!(percent_encoded("/dev/shm/a b&c"), "/dev/shm/a%20b%26c");
    }
}
