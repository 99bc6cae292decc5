//! What the modules under test import from the rest of lagwise, without what it does there.
//!
//! Nothing here is under test, and nothing here decides anything that a law is about.

/// In place of the clock: time stands still.
pub(crate) mod clock {
    use lagwise_core::Instant;

    pub(crate) const fn now() -> Instant {
        Instant::from_nanos(1 << 40)
    }
}

/// In place of metrics and log lines: nobody listens.
pub(crate) mod observe {
    use lagwise_core::{Because, Voided};

    pub(crate) const fn bound_statement(_: &Because<'_>) {}

    pub(crate) const fn position_voided(_: Voided) {}
}

/// In place of all errors: one.
pub(crate) mod error {
    #[derive(Debug)]
    pub(crate) struct Error;

    impl Error {
        pub(crate) fn statement(_: String) -> Self {
            Self
        }
    }
}

/// In place of a database: how it judges texts.
pub(crate) mod backend {
    use lagwise_core::{Catalog, Classification};

    pub(crate) trait Backend {
        fn classify<'a>(sql: &'a str, catalog: &Catalog) -> Classification<'a>;
    }
}

/// What a connection is confirmed to show.
pub(crate) mod routing {
    use lagwise_core::{Instant, Reached, Sight};

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Confirmed {
        pub(crate) sight: Sight,
        pub(crate) shows: Shows,
    }

    #[derive(Clone, Copy, Debug)]
    #[expect(dead_code, reason = "no law opens a read of each kind")]
    pub(crate) enum Shows {
        Observed(Reached),
        Fresh(Reached),
        Assumed(Instant),
    }
}

/// In place of what a session would be in dry mode: no law is about it.
pub(crate) mod shadow {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use lagwise_core::Session;

    #[derive(Debug, Default)]
    pub(crate) struct Shadow(Mutex<Session>);

    impl Shadow {
        pub(crate) fn core(&self) -> MutexGuard<'_, Session> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    #[derive(Debug)]
    pub(crate) struct ShadowRead;
}
