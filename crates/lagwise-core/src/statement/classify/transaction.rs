//! Whether a text leaves a transaction open behind it.
//!
//! A pool that takes back a connection in an open transaction hands it to somebody else. Several
//! statements in one text may begin and end transactions, so the last word counts.

/// What the statements of a text have done to the transaction so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transaction {
    /// Whether one was begun and not ended.
    pub(super) is_open: bool,
    command: Command,
    words: u8,
}

/// What the statement being read will have done when it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Command {
    #[default]
    Nothing,
    Opens,
    Ends,
    /// `PREPARE`, which ends a transaction if `TRANSACTION` comes next.
    Prepares,
    /// `AND` of `AND CHAIN`, or its `NO`.
    Chains {
        no: bool,
    },
}

impl Transaction {
    /// Looks at a statement's first word, folded.
    pub(super) fn begins(&mut self, word: &[u8]) {
        self.words = 0;
        self.command = match word {
            b"begin" | b"start" => Command::Opens,
            b"commit" | b"end" | b"rollback" | b"abort" => Command::Ends,
            b"prepare" => Command::Prepares,
            _ => Command::Nothing,
        };
    }

    /// Whether no further word of the statement matters.
    pub(super) const fn is_idle(self) -> bool {
        matches!(self.command, Command::Nothing)
    }

    /// Looks at another word of it.
    pub(super) fn goes_on(&mut self, word: &[u8]) {
        self.words = self.words.saturating_add(1);
        self.command = match (self.command, word) {
            (Command::Ends, b"and") => Command::Chains { no: false },
            (Command::Chains { .. }, b"no") => Command::Chains { no: true },
            (Command::Chains { no: false }, b"chain") => Command::Opens,
            (Command::Chains { no: true }, b"chain") => Command::Ends,
            (Command::Prepares, b"transaction") if self.words == 1 => Command::Ends,
            (Command::Ends, b"to" | b"prepared") | (Command::Prepares, _) => Command::Nothing,
            (command, _) => command,
        };
    }

    /// Concludes the statement.
    pub(super) fn ends(&mut self) {
        match self.command {
            Command::Opens => self.is_open = true,
            Command::Ends | Command::Chains { .. } => self.is_open = false,
            Command::Nothing | Command::Prepares => {}
        }
        self.command = Command::Nothing;
    }
}
