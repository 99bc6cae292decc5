//! One run from the start of the servers to the report.
//!
//! The rule here is the end: whatever ends the run, the workload ends first, then the display gives
//! the terminal back, then the router and the servers go.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use lagwise::Events;
use tokio::sync::watch;

use crate::arguments::{Arguments, Mode};
use crate::clock::Stopwatch;
use crate::display::{Display, Wish};
use crate::failure::Failure;
use crate::history::History;
use crate::interrupt::Interrupt;
use crate::naive::{Naive, Pools};
use crate::picture::{Album, Picture};
use crate::report::Report;
use crate::routed::Routed;
use crate::scenario::{self, Act};
use crate::stage::Stage;
use crate::tally::Tally;
use crate::workload::Workload;

/// Time between two pictures: smooth to the eye, and nothing to the machine.
const FRAME: Duration = Duration::from_millis(100);

/// How much longer than asked for the run may last for the replica's return to be seen.
const OVERTIME: Duration = Duration::from_secs(5);

/// Runs the demo; none if it was ended before it began.
pub(crate) async fn run(arguments: &Arguments) -> Result<Option<Report>, Failure> {
    let mut interrupt = Interrupt::listen()?;
    let mut display = Display::choose(arguments);
    display.announce("starting a primary and two replicas ...");
    let stage = tokio::select! {
        stage = Stage::set(arguments.sessions) => stage?,
        () = interrupt.comes() => return Ok(None),
    };
    let shown = play(arguments, &stage, &mut display, &mut interrupt).await;
    display.close();
    let ended = stage.end().await;
    let report = shown?;
    ended?;
    Ok(Some(report))
}

async fn play(
    arguments: &Arguments,
    stage: &Stage,
    display: &mut Display,
    interrupt: &mut Interrupt,
) -> Result<Report, Failure> {
    let (act, acting) = watch::channel(Act::Calm);
    let tally = Arc::new(Tally::default());
    let events = stage.router.events();
    let time = Stopwatch::start();
    let mut run = Run {
        arguments,
        stage,
        time,
        tally: &tally,
        acting,
        history: History::new(arguments.mode()),
        album: Album::default(),
    };
    display.open()?;
    let workload = start(arguments, stage, &tally)?;
    let scenario = scenario::play(stage, arguments.length(), time, &act);
    let watched = run.watch(display, interrupt, events, scenario).await;
    // Statements under way end well: what is counted is what was done.
    let ended = workload.end().await;
    let lasted = time.elapsed();
    watched?;
    ended?;
    let report = Report::new(arguments.mode(), tally.totals(), &run.history, lasted);
    Ok(report.with_first_error(tally.first_error()))
}

fn start(arguments: &Arguments, stage: &Stage, tally: &Arc<Tally>) -> Result<Workload, Failure> {
    let sessions = 0..arguments.sessions;
    match arguments.mode() {
        Mode::Routed => {
            let clients = sessions.map(|_| Routed::new(&stage.router)).collect();
            Ok(Workload::start(clients, arguments.seed, tally))
        }
        Mode::Naive => {
            let pools = Pools::over(stage)?;
            let mut random = Rng::with_seed(arguments.seed);
            let clients = sessions.map(|_| Naive::new(pools.clone(), random.fork()));
            Ok(Workload::start(clients.collect(), arguments.seed, tally))
        }
    }
}

/// A run under way, and all that is known of it.
struct Run<'a> {
    arguments: &'a Arguments,
    stage: &'a Stage,
    time: Stopwatch,
    tally: &'a Tally,
    acting: watch::Receiver<Act>,
    history: History,
    album: Album,
}

impl Run<'_> {
    /// Shows what happens until time is up and the scenario has ended, or somebody ends it.
    async fn watch(
        &mut self,
        display: &mut Display,
        interrupt: &mut Interrupt,
        mut events: Events,
        scenario: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let mut scenario = pin!(scenario);
        let mut playing = true;
        let mut frames = tokio::time::interval(FRAME);
        frames.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Events first: none may be missing from the last picture.
                biased;
                Some(happened) = events.next() => {
                    if let Some(entry) = self.history.note(self.time, &happened) {
                        display.note(entry)?;
                    }
                }
                () = interrupt.comes() => return Ok(()),
                played = &mut scenario, if playing => {
                    played?;
                    playing = false;
                }
                _ = frames.tick() => {
                    if display.show(&self.picture())? == Wish::End || self.is_over(playing) {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn is_over(&self, playing: bool) -> bool {
        let length = self.arguments.length();
        let limit = if playing { length + OVERTIME } else { length };
        self.time.elapsed() >= limit
    }

    fn picture(&mut self) -> Picture<'_> {
        let totals = self.tally.totals();
        let snapshot = self.stage.router.snapshot();
        Picture {
            mode: self.arguments.mode(),
            sessions: self.arguments.sessions,
            elapsed: self.time.elapsed(),
            length: self.arguments.length(),
            act: *self.acting.borrow(),
            nodes: self.album.nodes(&snapshot, &totals),
            totals,
            entries: self.history.entries(),
        }
    }
}
