//! The bugs: where each is planted, what it replaces, and with what.

pub(crate) struct Bug {
    pub(crate) name: &'static str,
    /// In the sources of the core.
    pub(crate) file: &'static str,
    /// Occurs there once.
    pub(crate) right: &'static str,
    pub(crate) wrong: &'static str,
}

pub(crate) const BUGS: &[Bug] = &[
    Bug {
        name: "the floor test is `>` for `>=`: what is reached exactly is not enough",
        file: "floor.rs",
        right: ".filter(|written| reached.as_of < *written)",
        wrong: ".filter(|written| reached.as_of <= *written)",
    },
    Bug {
        name: "the position test is `>` for `>=`: an idle primary's position is met by nobody",
        file: "selection/eligible.rs",
        right: "node.lsn.is_some_and(|lsn| lsn >= position.lsn)",
        wrong: "node.lsn.is_some_and(|lsn| lsn > position.lsn)",
    },
    Bug {
        name: "as-of is dated by when the answer came",
        file: "monitor.rs",
        right: "&& history.record(observed.sent_at, insert) != Recorded::Backwards",
        wrong: "&& history.record(observed.received_at, insert) != Recorded::Backwards",
    },
    Bug {
        name: "a restart of the server resets nothing",
        file: "monitor/track.rs",
        right: "went_on && last.connection == next.connection && is_of_server(last, next)",
        wrong: "went_on && last.connection == next.connection && last.system == next.system",
    },
    Bug {
        name: "a history goes on along another timeline",
        file: "monitor.rs",
        right: "history.timeline() == timeline\n                    && ",
        wrong: "",
    },
    Bug {
        name: "a position on a timeline that ended is taken for one on this",
        file: "position.rs",
        right: "if position.timeline < timeline {",
        wrong: "if position.timeline < Timeline::new(0) {",
    },
    Bug {
        name: "an older timeline may succeed",
        file: "monitor/topology.rs",
        right: "!self.is_deposed(timeline) && succeeds",
        wrong: "succeeds",
    },
    Bug {
        name: "a promotion is forgotten with a suspicion of its node",
        file: "monitor/topology.rs",
        right: "heard.copied().flatten().max(self.reign()) > Some(timeline)",
        wrong: "heard.is_some() && self.reign() > Some(timeline)",
    },
    Bug {
        name: "a read does not raise the floor",
        file: "session.rs",
        right: "self.floor.read = self.floor.read.max(Some(now));",
        wrong: "",
    },
    Bug {
        name: "the budget is checked but not taken",
        file: "budget.rs",
        right: "self.out += u32::from(granted);",
        wrong: "",
    },
    Bug {
        name: "a newcomer overtakes who waits",
        file: "budget.rs",
        right: "let granted = self.line.is_empty() && self.take(now);",
        wrong: "let granted = self.take(now);",
    },
    Bug {
        name: "the rate is checked but not taken",
        file: "budget.rs",
        right: "self.parts -= TOKEN;",
        wrong: "",
    },
    Bug {
        name: "the ring is looked up one sample too late",
        file: "history.rs",
        right: "    samples\n        .rev()\n        .find(|sample| sample.lsn <= replay)\n",
        wrong: "    samples\n        .rev()\n        .scan(None, |later, sample| {\n            let one = later.replace(sample).unwrap_or(sample);\n            Some((sample, one))\n        })\n        .find(|(sample, _)| sample.lsn <= replay)\n        .map(|(_, later)| later)\n",
    },
    Bug {
        name: "nobody looks whether a replica is ahead of its primary",
        file: "monitor/service.rs",
        right: "let ahead = |(replay, received): (Lsn, Instant)| replay > insert && received <= sent;",
        wrong: "let ahead = |(replay, received): (Lsn, Instant)| replay < insert && received > sent && false;",
    },
    Bug {
        name: "what another history proved still counts",
        file: "monitor/track.rs",
        right: "        self.anchored_from = from;\n        self.anchor = self.anchorage();",
        wrong: "        let _ = from;",
    },
    Bug {
        name: "a token does not say that a write was not captured",
        file: "session/leaving.rs",
        right: "uncaptured: self.trail.uncaptured || self.trail.inherited || open,",
        wrong: "uncaptured: false,",
    },
    Bug {
        name: "the old primary is kept while it answers",
        file: "monitor/topology.rs",
        right: "let standing = standing.filter(|timeline| !self.is_deposed(*timeline));",
        wrong: "",
    },
    Bug {
        name: "what was kept is the new primary's own position",
        file: "monitor/switch.rs",
        right: "kept: kept.map(|kept| kept.replay),",
        wrong: "kept: next.newest().map(|sample| sample.lsn),",
    },
    Bug {
        name: "an answer that comes too late is believed",
        file: "monitor/track.rs",
        right: "known.is_some_and(|known| observed.sent_at < known)",
        wrong: "known.is_some_and(|known| observed.received_at < known)",
    },
    Bug {
        name: "an old primary at its successor's address is written to",
        file: "monitor/topology.rs",
        right: "let standing = standing.filter(|timeline| !self.is_deposed(*timeline));",
        wrong: "let standing = standing.filter(|timeline| best.is_none_or(|(best, _)| best <= *timeline));",
    },
];
