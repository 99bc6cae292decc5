//! Scenes for tests: values that no server has to be made to have.

use std::time::Duration;

use lagwise_core::{Instant, Lsn};

use super::clock::WallClock;
use super::log::Entry;
use super::look::{Look, NodeLook};
use super::row::Tone;
use super::state::Scene;
use crate::vitals::Vitals;

/// 18:57:03Z.
pub(crate) fn clock() -> WallClock {
    WallClock::at(start(), Duration::from_secs(68_223))
}

fn start() -> Instant {
    Instant::from_nanos(0).after(Duration::from_secs(1_000))
}

/// A primary and two replicas, all well.
pub(crate) fn look() -> Look {
    Look {
        at: start(),
        primary: Some("primary".into()),
        primary_lost: None,
        timeline: Some(3),
        system: Some("7301234567890123456".to_owned()),
        in_rotation: 2,
        max_lag: Duration::from_secs(1),
        poll_interval: Duration::from_millis(100),
        nodes: vec![node("primary"), node("replica-1"), node("replica-2")],
    }
}

/// A node that is well: the primary, if it is called so.
pub(crate) fn node(name: &str) -> NodeLook {
    let is_primary = name == "primary";
    let replica = !is_primary;
    NodeLook {
        name: name.into(),
        role: Some(if is_primary { "primary" } else { "replica" }),
        is_primary,
        membership: if is_primary { "primary" } else { "in_rotation" },
        cause: None,
        since: Duration::from_secs(185),
        position: Some(Lsn::new(0x16_B374_D848)),
        bytes_behind: replica.then_some(0),
        bound: replica.then_some(Duration::from_millis(112)),
        estimate: replica.then_some(Duration::from_millis(8)),
        observed_ago: Some(Duration::from_millis(40)),
        latency: Some(Duration::from_micros(410)),
        weight: 100,
        zone: None,
        balanced: false,
    }
}

pub(crate) fn vitals(in_recovery: bool) -> Vitals {
    Vitals {
        version: 150_018,
        in_recovery,
        checkpoint_timeline: Some(3),
        timeline: Some(3),
        connections: Some(14),
        max_connections: 100,
        conflicts: in_recovery.then_some(0),
        receiving: in_recovery,
        receiver_status: in_recovery.then(|| "streaming".to_owned()),
        heard_seconds_ago: in_recovery.then_some(0.2),
        last_replayed_commit_seconds_ago: in_recovery.then_some(3.5),
        replay_pause: in_recovery.then(|| "not paused".to_owned()),
        senders: if in_recovery { 0 } else { 2 },
        ..Vitals::default()
    }
}

/// A scene of a look, as somebody sees it who has watched it for a minute and a half.
pub(crate) fn of(look: &Look) -> Scene {
    let mut first = look.clone();
    first.at = start();
    let mut scene = Scene::new(first, clock());
    for step in 1_u32..=180 {
        let mut look = look.clone();
        look.at = start().after(Duration::from_millis(500) * step);
        for (number, node) in (1..).zip(&mut look.nodes) {
            let written = u64::from(step) * 600_000;
            node.position = node.position.map(|from| Lsn::new(from.as_u64() + written));
            let wave = Duration::from_millis(u64::from((step * 13 + number * 170) % 400));
            node.bound = node
                .bound
                .map(|bound| if step < 180 { bound + wave } else { bound });
        }
        scene.take(look);
    }
    for node in &look.nodes {
        let told = vitals(!node.is_primary);
        match node.role {
            Some(_) => scene.told(&node.name, Ok(told)),
            None => scene.told(
                &node.name,
                Err("cannot be connected to: Connection refused (os error 111)".to_owned()),
            ),
        }
    }
    scene
}

/// All well.
pub(crate) fn scene() -> Scene {
    of(&look())
}

/// A primary and replicas, so many in all.
pub(crate) fn many(nodes: usize) -> Scene {
    let mut look = look();
    let replicas = (1..nodes).map(|number| node(&format!("replica-{number}")));
    look.nodes = [node("primary")].into_iter().chain(replicas).collect();
    look.in_rotation = nodes - 1;
    of(&look)
}

/// One replica far behind and one that is not there, with what led to it.
pub(crate) fn trouble() -> Scene {
    let mut look = look();
    look.in_rotation = 0;
    let lagging = &mut look.nodes[1];
    lagging.membership = "ejected";
    lagging.cause = Some("lagging");
    lagging.since = Duration::from_secs(12);
    lagging.bytes_behind = Some(16 << 20);
    lagging.bound = Some(Duration::from_millis(2_750));
    lagging.estimate = Some(Duration::from_millis(2_600));
    let gone = &mut look.nodes[2];
    gone.role = None;
    gone.membership = "ejected";
    gone.cause = Some("unreachable");
    gone.since = Duration::from_secs(4_000);
    (gone.position, gone.bytes_behind, gone.bound) = (None, None, None);
    (gone.estimate, gone.observed_ago, gone.latency) = (None, None, None);
    let mut scene = of(&look);
    let mut say = |time: &str, node: &str, text: &str, tone| {
        scene.log.push_front(Entry {
            time: time.to_owned(),
            node: Some(node.into()),
            text: text.to_owned(),
            tone,
        });
    };
    say(
        "17:50:23Z",
        "replica-2",
        "does not answer: connect",
        Tone::Caution,
    );
    say(
        "17:50:24Z",
        "replica-2",
        "leaves the rotation: unreachable",
        Tone::Bad,
    );
    say(
        "18:56:51Z",
        "replica-1",
        "leaves the rotation: lagging",
        Tone::Bad,
    );
    scene
}

/// Nobody accepts writes.
pub(crate) fn headless() -> Scene {
    let mut scene = scene();
    let mut look = scene.look.clone();
    look.primary_lost = Some(Duration::from_secs(9));
    for node in &mut look.nodes {
        (node.estimate, node.bytes_behind) = (None, None);
        node.bound = node.bound.map(|_| Duration::from_secs(9));
    }
    scene.take(look);
    scene
}

/// Nobody has answered yet.
pub(crate) fn unseen() -> Scene {
    let mut look = look();
    (look.primary, look.timeline, look.system) = (None, None, None);
    look.in_rotation = 0;
    for node in &mut look.nodes {
        node.is_primary = false;
        (node.role, node.membership, node.cause) = (None, "ejected", Some("unproved"));
        node.since = Duration::from_millis(300);
        (node.position, node.bytes_behind, node.bound) = (None, None, None);
        (node.estimate, node.observed_ago, node.latency) = (None, None, None);
    }
    Scene::new(look, clock())
}

/// One was taken out by hand.
pub(crate) fn drained() -> Scene {
    let mut look = look();
    look.in_rotation = 1;
    let node = &mut look.nodes[1];
    (node.membership, node.cause) = ("ejected", Some("drained"));
    of(&look)
}

/// Names as people give them.
pub(crate) fn long_names() -> Scene {
    let mut look = look();
    look.nodes[1].name = "db-prod-eu-west-1a-replica-01.internal.example.com:5433".into();
    look.nodes[2].name = "数据库-größe-🦀-\u{1b}[31m-replica".into();
    of(&look)
}

/// What is told when a replica is taken out.
pub(crate) fn ejection() -> Entry {
    Entry {
        time: "18:57:04Z".to_owned(),
        node: Some("replica-1".into()),
        text: "leaves the rotation: lagging".to_owned(),
        tone: Tone::Bad,
    }
}
