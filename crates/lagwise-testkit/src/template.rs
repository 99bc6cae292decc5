//! A freshly initialized data folder, made once and copied for every node.
//!
//! `initdb` takes longer than everything else a cluster's start does, and always with the same
//! outcome. So the first cluster of an installation keeps it for the next ones: made under another
//! name and renamed, so that processes that race each make their own and one of them wins. All
//! copies have one system identifier, unless a cluster asks for its own. What is written into a
//! copy is `settings`' business.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

use crate::account::Account;
use crate::error::{Error, Result};
use crate::installation::Installation;
use crate::program;

/// The arguments of `initdb` that no cluster changes.
const ARGUMENTS: [&str; 8] = [
    "-U",
    "postgres",
    "-A",
    "trust",
    "-N",
    "--no-instructions",
    "--locale=C",
    "-EUTF8",
];

/// What a data folder is made from.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) account: Account,
    pub(crate) installation: Installation,
    pub(crate) wal_segment_mb: u32,
}

impl Recipe {
    /// The template of this recipe below `base`; made by way of `draft`, which must not exist.
    pub(crate) async fn cached(&self, base: &Path, draft: &Path) -> Result<PathBuf> {
        // Clusters of one process that start together shall not all run `initdb`.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
        let template = base.join("templates").join(self.key());
        let _turn = ONE_AT_A_TIME.lock().await;
        if is_whole(&template) {
            return Ok(template);
        }
        self.make(draft).await?;
        // Cleaners of temporary files remove what was not used for days, file by file.
        if template.exists() && !is_whole(&template) {
            fs::remove_dir_all(&template).ok();
        }
        match fs::rename(draft, &template) {
            Ok(()) => Ok(template),
            // Another process was first: the draft is as good, and vanishes with the cluster.
            Err(_) if is_whole(&template) => Ok(template),
            Err(error) => Err(Error::because(
                format!("cannot make {}", template.display()),
                error,
            )),
        }
    }

    /// Makes a data folder with a system identifier of its own.
    pub(crate) async fn make(&self, data: &Path) -> Result<()> {
        let folder = data.parent().unwrap_or(data);
        let mut command = self
            .account
            .command(&self.installation.program("initdb"), folder);
        command.args(ARGUMENTS).arg("-D").arg(data);
        command.arg(format!("--wal-segsize={}", self.wal_segment_mb));
        program::run(command).await
    }

    /// Copies a data folder that no server runs on.
    pub(crate) async fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let folder = to.parent().unwrap_or(to);
        let mut command = self.account.command(Path::new("cp"), folder);
        command.arg("-R").arg(from).arg(to);
        program::run(command).await
    }

    /// Distinguishes everything that could make one template differ from another.
    fn key(&self) -> String {
        let mut hasher = DefaultHasher::new();
        ARGUMENTS.hash(&mut hasher);
        self.wal_segment_mb.hash(&mut hasher);
        self.installation.release().hash(&mut hasher);
        self.installation.bin().hash(&mut hasher);
        // Builds of a version not released yet change their format, but not their name.
        if let Ok(server) = fs::metadata(self.installation.program("postgres")) {
            (server.len(), server.mtime()).hash(&mut hasher);
        }
        format!("{}-{:016x}", self.installation.version(), hasher.finish())
    }
}

/// Whether the folder has the first and the last file that `initdb` makes sure of.
fn is_whole(template: &Path) -> bool {
    template.join("PG_VERSION").exists() && template.join("global/pg_control").exists()
}
