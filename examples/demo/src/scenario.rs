//! What befalls replica 1 during the run: it lags, returns, is killed, and returns.
//!
//! Every act has its moment, in hundredths of the run; but none begins before the last one has had
//! its effect, so a slow machine shows the same as a fast one, only later. The acts are the same
//! with and without lagwise: the monitor that they wait for watches in both.

use std::time::Duration;

use lagwise::{Event, Events};
use tokio::sync::watch;

use crate::clock::Stopwatch;
use crate::failure::Failure;
use crate::stage::{NODES, Stage};

/// The index of the node that it befalls.
pub(crate) const VICTIM: usize = 1;

/// How late the victim applies each commit: twice what the router tolerates.
const DELAY: Duration = Duration::from_secs(2);

/// Longer than any effect takes to show, also on a busy machine.
const EFFECT_WITHIN: Duration = Duration::from_secs(20);

/// What the scenario is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// All is well.
    Calm,
    /// Commits are applied late.
    Delayed,
    /// The delay is gone.
    CatchingUp,
    /// All is well again.
    Returned,
    /// The server is dead.
    Killed,
    /// The server starts again.
    Restarted,
    /// All that was to happen has happened.
    Over,
}

impl Act {
    /// What a viewer should know.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "all is well",
            Self::Delayed => "replica-1 applies every commit 2 s late",
            Self::CatchingUp => "the delay is gone: replica-1 catches up",
            Self::Returned => "replica-1 has caught up",
            Self::Killed => "replica-1 was killed",
            Self::Restarted => "replica-1 starts again, and recovers from its crash",
            Self::Over => "replica-1 is back: reads return to it little by little",
        }
    }
}

/// When the acts begin, at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moments {
    delay: Duration,
    catch_up: Duration,
    kill: Duration,
    restart: Duration,
}

impl Moments {
    fn within(length: Duration) -> Self {
        let at = |hundredths: u32| length * hundredths / 100;
        Self {
            delay: at(20),
            catch_up: at(45),
            kill: at(55),
            restart: at(70),
        }
    }
}

/// Plays all acts.
pub(crate) async fn play(
    stage: &Stage,
    length: Duration,
    time: Stopwatch,
    act: &watch::Sender<Act>,
) -> Result<(), Failure> {
    let moments = Moments::within(length);
    let victim = &stage.cluster.nodes()[VICTIM];

    time.reach(moments.delay).await;
    let events = stage.router.events();
    act.send_replace(Act::Delayed);
    victim.set_apply_delay(DELAY).await?;
    wait(Rotation::Left, events).await?;

    time.reach(moments.catch_up).await;
    let events = stage.router.events();
    act.send_replace(Act::CatchingUp);
    victim.set_apply_delay(Duration::ZERO).await?;
    wait(Rotation::Entered, events).await?;
    act.send_replace(Act::Returned);

    time.reach(moments.kill).await;
    let events = stage.router.events();
    act.send_replace(Act::Killed);
    victim.kill().await?;
    wait(Rotation::Left, events).await?;

    time.reach(moments.restart).await;
    let events = stage.router.events();
    act.send_replace(Act::Restarted);
    victim.start().await?;
    wait(Rotation::Entered, events).await?;
    act.send_replace(Act::Over);
    Ok(())
}

/// What an act leads to.
#[derive(Clone, Copy, Debug)]
enum Rotation {
    Entered,
    Left,
}

/// Waits until the victim has left or entered the rotation since `events` began.
async fn wait(effect: Rotation, mut events: Events) -> Result<(), Failure> {
    let seen = async {
        while let Some(happened) = events.next().await {
            if happened.node.as_deref() != Some(NODES[VICTIM]) {
                continue;
            }
            match (effect, happened.event) {
                (Rotation::Left, Event::Ejected { .. })
                | (Rotation::Entered, Event::Readmitted { .. }) => return Ok(()),
                _ => {}
            }
        }
        Err(Failure::new("the router was closed during the scenario"))
    };
    let name = NODES[VICTIM];
    let what = match effect {
        Rotation::Entered => "enter",
        Rotation::Left => "leave",
    };
    tokio::time::timeout(EFFECT_WITHIN, seen)
        .await
        .unwrap_or_else(|_| {
            Err(Failure::new(format!(
                "{name} did not {what} the rotation within {EFFECT_WITHIN:?}"
            )))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acts_keep_their_places_in_a_run_of_any_length() {
        let moments = Moments::within(Duration::from_secs(30));
        assert_eq!(moments.delay, Duration::from_secs(6));
        assert_eq!(moments.catch_up, Duration::from_millis(13_500));
        assert_eq!(moments.kill, Duration::from_millis(16_500));
        assert_eq!(moments.restart, Duration::from_secs(21));
        let shortest = Moments::within(Duration::from_secs(6));
        assert_eq!(shortest.restart, Duration::from_millis(4200));
        assert!(shortest.catch_up > shortest.delay + Duration::from_secs(1));
    }
}
