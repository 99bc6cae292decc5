//! Something that is set up badly: what, why it matters, and what mends it.

use serde::Serialize;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Good to know.
    Note,
    /// It will hurt one day.
    Warning,
    /// A node could not be looked at, which may hide anything.
    Unseen,
    /// It hurts now.
    Problem,
}

impl Severity {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Unseen => "unseen",
            Self::Problem => "problem",
        }
    }

    /// Of a run that found nothing worse.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Note => 0,
            Self::Warning => 1,
            Self::Problem => 2,
            Self::Unseen => 3,
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// Its name, for programs.
    pub(crate) topic: &'static str,
    /// Where; of the whole cluster if nowhere.
    pub(crate) node: Option<String>,
    /// What there is.
    pub(crate) what: String,
    /// What comes of it.
    pub(crate) why: &'static str,
    /// What mends it, in words.
    pub(crate) mend: String,
    /// The statements that do, each to be run by itself: `ALTER SYSTEM` is refused beside another.
    pub(crate) commands: Vec<String>,
}

impl Finding {
    pub(crate) fn new(severity: Severity, topic: &'static str, what: impl Into<String>) -> Self {
        Self {
            severity,
            topic,
            node: None,
            what: what.into(),
            why: "",
            mend: String::new(),
            commands: Vec::new(),
        }
    }

    pub(crate) fn on(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    pub(crate) fn because(mut self, why: &'static str) -> Self {
        self.why = why;
        self
    }

    pub(crate) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = mend.into();
        self
    }

    /// One more statement of the mend.
    pub(crate) fn command(mut self, statement: impl Into<String>) -> Self {
        self.commands.push(statement.into());
        self
    }

    /// By a setting that takes effect with a reload. `ALTER SYSTEM` works on a standby as well.
    pub(crate) fn mend_by_setting(self, name: &str, value: &str) -> Self {
        self.mend("in psql, there:").setting(name, value)
    }

    /// The statements that set something and have the server read it.
    pub(crate) fn setting(self, name: &str, value: &str) -> Self {
        self.command(format!("ALTER SYSTEM SET {name} = '{value}';"))
            .command(RELOAD)
    }
}

pub(crate) const RELOAD: &str = "SELECT pg_reload_conf();";
