//! Selection as data: a cluster and a request, and what must come of them.
//!
//! A vector is one line: `cluster | request => outcome`. A cluster is a list of replicas, each
//! `name:lag` in milliseconds with optional marks: `w0` a weight, `far` another zone, `lb` an address
//! that leads to several servers; and a state
//! instead of a lag where something else befell it: `unseen`, `paused`, `drained`, `diverged`,
//! `foreign`, `gone`. `no` stands for no replica at all. In a request `wrote=300` is a write that
//! returned 300 ms ago, `read=a/300` a read on `a` that ended then, `token=1/300` the position of that instant on timeline 1. The vectors go through the real monitor, so a cluster that cannot
//! come about cannot be tested either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lagwise_core::{
    Claim, Fallback, Floor, Incarnation, Instant, Lsn, Monitor, NodeId, NodeSpec, Observation,
    Policy, Position, ProbeFailure, Random, ReadFrom, Reason, Rejection, Request, Requirement,
    Role, Selection, ServerStart, Sight, Snapshot, Standing, Step, SystemId, Timeline, WallTime,
    Weight, next_step, recheck, recheck_assumed, recheck_fresh, select, without_primary,
};

const VECTORS: &str = "
# Any replica in rotation.
a:0                        | any                      => a
a:0 b:unseen               | any                      => a
a:900                      | any                      => a
a:unseen                   | any                      => primary none_in_rotation; a out of rotation: unproved
a:paused                   | any                      => primary none_in_rotation; a out of rotation: paused
a:drained                  | any                      => primary none_in_rotation; a out of rotation: drained
a:diverged                 | any                      => primary none_in_rotation; a out of rotation: diverged
a:foreign                  | any                      => primary none_in_rotation; a out of rotation: foreign
a:gone                     | any                      => primary none_in_rotation; a out of rotation: unreachable
a:5000                     | any                      => primary none_in_rotation; a out of rotation: lagging
no                         | any                      => primary no_replica
no                         | any refuse               => primary no_replica
a:0 b:0                    | any failed=a             => b
a:0                        | any failed=a             => primary failed; a failed this read already
a:0                        | primary                  => primary asked; a not the primary

# Bounds: within them or not at all.
a:300 b:700                | within=500               => a
a:300 b:700                | within=300               => a
a:301 b:700                | within=300               => primary beyond_bound; a up to 301ms behind, where 300ms is accepted; b up to 700ms behind, where 300ms is accepted
a:301                      | within=300 refuse        => refuse; a up to 301ms behind, where 300ms is accepted
a:301                      | within=300 wait=20       => wait; a up to 301ms behind, where 300ms is accepted
a:5000                     | within=6000              => primary none_in_rotation; a out of rotation: lagging

# Floors: what the session wrote or saw.
a:300 b:700                | wrote=300                => a
a:300 b:700                | wrote=299                => primary behind_floor; a 1ms short of what the session wrote or saw; b 401ms short of what the session wrote or saw
a:300                      | wrote=299 wait=20        => wait; a 1ms short of what the session wrote or saw
a:300                      | writing wait=20          => primary behind_floor; a a write or read of the session is still under way
a:300                      | writing refuse           => refuse; a a write or read of the session is still under way
a:300 b:unseen             | wrote=100                => primary behind_floor; a 200ms short of what the session wrote or saw; b out of rotation: unproved
a:300                      | wrote=300 within=200     => primary beyond_bound; a up to 300ms behind, where 200ms is accepted

# Positions that a token names.
a:300                      | token=1/300              => a
a:300                      | token=1/299              => primary behind_floor; a not proved to have replayed the token's position
a:300                      | token=2/300              => refuse; a not proved to have replayed the token's position
a:300                      | foreign-token            => primary behind_floor; a not proved to have replayed the token's position
a:300                      | token=1/299 wait=20      => wait; a not proved to have replayed the token's position

# The freshest: late is accepted, unproved is not, and what was stated still holds.
a:5000 b:9000              | any freshest             => freshest a; a out of rotation: lagging; b out of rotation: lagging
a:5000 b:paused            | any freshest             => freshest a; a out of rotation: lagging; b out of rotation: paused
a:5000 b:diverged          | any freshest             => freshest a; a out of rotation: lagging; b out of rotation: diverged
a:5000                     | within=6000 freshest     => freshest a; a out of rotation: lagging
a:5000                     | within=4000 freshest     => refuse; a out of rotation: lagging
a:5000                     | wrote=4000 freshest      => refuse; a out of rotation: lagging
a:5000                     | any freshest failed=a    => refuse; a failed this read already
a:unseen                   | any freshest             => refuse; a out of rotation: unproved
a:5000                     | any then                 => primary none_in_rotation; a out of rotation: lagging
a:0                        | any then                 => a

# Zones: near before far, far before the primary.
a:0,far b:0                | any                      => b
a:0,far b:5000             | any                      => a
a:0,far b:700              | within=500               => a

# Weight zero is the last resort, near or far.
a:0,w0 b:0                 | any                      => b
a:0,w0 b:5000              | any                      => a
a:0,w0 b:0,far             | any                      => b
a:0,w0 b:0,far,w0          | any                      => a
a:0,w0 b:0,far             | any failed=b             => a
";

/// Of what is behind a balancer nothing is proved: the sticky window, 2 s here, is all there is.
const BALANCED: &str = "
a:0,lb                     | any                      => a
a:900,lb                   | any                      => a
a:5000,lb                  | any                      => primary none_in_rotation; a out of rotation: lagging
a:paused,lb                | any                      => primary none_in_rotation; a out of rotation: paused
a:gone,lb                  | any                      => primary none_in_rotation; a out of rotation: unreachable
a:0,lb                     | any failed=a             => primary failed; a failed this read already
a:0,lb                     | primary                  => primary asked; a not the primary

# A session comes once the window has passed, and not before, whatever was read there.
a:0,lb                     | wrote=2000               => a
a:0,lb                     | wrote=1999               => primary behind_floor; a balanced, and the session wrote, read or came in within the sticky window
a:0,lb                     | wrote=1999 refuse        => refuse; a balanced, and the session wrote, read or came in within the sticky window
a:0,lb                     | writing wait=9000        => primary behind_floor; a balanced, and a write or read of the session is still under way
a:0,lb                     | read=a/2000              => a
a:0,lb                     | read=a/1999              => primary behind_floor; a balanced, and the session wrote, read or came in within the sticky window
a:0                        | read=a/1999              => a
a:0,lb                     | token=1/9000             => primary behind_floor; a balanced, and the session wrote, read or came in within the sticky window
a:0,lb                     | token=1/9000 since=2000  => a
a:0,lb                     | token=2/9000 since=2000  => refuse; a not proved to have replayed the token's position

# Nobody waits for a window longer than it waits.
a:0,lb                     | wrote=1980 wait=20       => wait; a balanced, and the session wrote, read or came in within the sticky window
a:0,lb                     | wrote=1979 wait=20       => primary behind_floor; a balanced, and the session wrote, read or came in within the sticky window

# A bound is a promise.
a:0,lb                     | within=900000            => primary beyond_bound; a of unknown staleness, where 900s is accepted
a:0,lb                     | within=900000 wait=20    => primary beyond_bound; a of unknown staleness, where 900s is accepted
a:0,lb                     | within=500 wrote=1       => primary beyond_bound; a of unknown staleness, where 500ms is accepted
a:0,lb                     | within=500 freshest      => refuse; a of unknown staleness, where 500ms is accepted
a:5000,lb                  | any freshest             => refuse; a out of rotation: lagging
a:5000,lb b:9000           | any freshest             => freshest b; a out of rotation: lagging; b out of rotation: lagging

# A proof goes before a guess, but only where there is something to prove.
a:0,lb b:0                 | wrote=3000               => b
a:0,lb b:0,far,w0          | wrote=3000               => b
a:0,lb b:5000              | wrote=3000               => a
a:0,lb b:0,far             | any                      => a
a:0,lb b:300               | within=500               => b
a:0,lb b:300               | wrote=200                => primary behind_floor; a balanced, and the session wrote, read or came in within the sticky window; b 100ms short of what the session wrote or saw
";

/// What is left to a read that fell back to a primary that cannot take it.
const WITHOUT_PRIMARY: &str = "
# Most are out for lag: one of them serves who stated nothing.
a:5000                     | any                      => panic a
a:5000 b:9000              | any                      => panic a
a:5000 b:9000              | any failed=a             => panic b
a:5000 b:9000              | any failed=a failed=b    => refuse
a:5000,w0 b:9000           | any                      => panic b
a:5000,far b:9000          | any                      => panic b
a:5000,lb b:9000           | any                      => panic b
a:5000,lb                  | any                      => refuse

# At half of those that nobody has drained it begins.
a:5000 b:gone              | any                      => panic a
a:5000 b:gone c:gone       | any                      => refuse
a:5000 b:gone c:drained    | any                      => panic a
a:5000 b:0                 | any failed=b             => panic a
a:5000 b:0 c:0             | any failed=b failed=c    => refuse
a:5000 b:5000 c:0          | any failed=c             => panic a

# Late, and nothing worse.
a:gone                     | any                      => refuse
a:diverged                 | any                      => refuse
a:unseen                   | any                      => refuse
a:paused                   | any                      => refuse
a:foreign                  | any                      => refuse
a:drained                  | any                      => refuse

# Whoever stated a floor or a bound, asked for the primary, or wanted no fallback is refused.
a:5000                     | wrote=9000               => refuse
a:5000                     | writing                  => refuse
a:5000                     | read=a/5000              => refuse
a:5000                     | token=1/9000             => refuse
a:5000                     | foreign-token            => refuse
a:5000                     | within=900000            => refuse
a:5000                     | within=900000 wrote=9000 => refuse
a:5000                     | primary                  => refuse
a:5000                     | any refuse               => refuse
a:5000                     | any freshest             => refuse
";

/// The same, for who wants the freshest then: whoever stated something is served by who has it.
const THEN_FRESHEST: &str = "
a:9000 b:5000              | any then                 => freshest b
a:9000 b:5000              | any then failed=b        => freshest a
a:9000 b:5000 c:gone       | any then                 => freshest b
a:5000                     | within=6000 then         => freshest a
a:5000                     | within=4000 then         => refuse
a:5000                     | wrote=6000 then          => freshest a
a:5000                     | wrote=4000 then          => refuse
a:5000                     | writing then             => refuse
a:5000                     | token=1/6000 then        => freshest a
a:5000                     | token=1/4000 then        => refuse
a:5000                     | token=2/6000 then        => refuse
a:5000                     | primary then             => refuse
a:gone                     | any then                 => refuse
a:diverged                 | any then                 => refuse
a:5000,lb                  | any then                 => refuse
";

const PRIMARY: NodeId = NodeId::new(0);
const START: u64 = 1_000_000;

/// A number of positions that stand for milliseconds: the primary wrote one byte in each.
fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn generator(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// A replica of a vector.
#[derive(Debug)]
struct Member<'a> {
    name: &'a str,
    state: &'a str,
    marks: Vec<&'a str>,
}

impl<'a> Member<'a> {
    fn parse(text: &'a str) -> Self {
        let (name, rest) = text.split_once(':').expect("a replica is `name:state`");
        let mut parts = rest.split(',');
        Self {
            name,
            state: parts.next().unwrap_or_default(),
            marks: parts.collect(),
        }
    }

    fn spec(&self) -> NodeSpec {
        let mut spec = NodeSpec::new(self.name, Role::Replica);
        let far = self.marks.contains(&"far");
        spec.zone = Some(if far { "west" } else { "east" }.into());
        spec.balanced = self.marks.contains(&"lb");
        let weight = self.marks.iter().find_map(|mark| mark.strip_prefix('w'));
        if let Some(weight) = weight {
            spec.weight = Weight::new(weight.parse().expect("a weight"));
        }
        spec
    }

    fn lag(&self) -> u64 {
        self.state.parse().unwrap_or(0)
    }
}

/// A monitor in the state that a vector describes, and the instant of it.
struct Stage {
    monitor: Monitor,
    now: u64,
    /// What each replica has replayed: it never goes back.
    replayed: BTreeMap<NodeId, u64>,
    /// Which server answers at a node's address, by when it was started; the first unless said.
    servers: BTreeMap<NodeId, i64>,
}

impl Stage {
    fn new(members: &[Member<'_>]) -> Self {
        let mut policy = Policy::default();
        policy.zone = Some("east".into());
        let primary = NodeSpec::new("primary", Role::Primary);
        let nodes = std::iter::once(primary).chain(members.iter().map(Member::spec));
        let policy = policy.validate().expect("the policy can be honored");
        let mut stage = Self {
            monitor: Monitor::new(at(START), policy, nodes),
            now: START,
            replayed: BTreeMap::new(),
            servers: (1..)
                .map(NodeId::new)
                .zip(2..)
                .take(members.len())
                .collect(),
        };
        // Long enough that a replica in any state was proved to follow before it came into it.
        for _ in 0..40 {
            stage.round(members, 100, |_| 0);
        }
        for _ in 0..150 {
            stage.round(members, 100, |member| member.lag());
        }
        // Of the last second every millisecond is known, so that a lag is exact.
        for _ in 0..12 {
            stage.round(members, 1, |member| member.lag());
        }
        for (id, member) in (1..).map(NodeId::new).zip(members) {
            stage.disturb(id, member);
        }
        stage
    }

    /// A tenth of a second, in which the primary is asked every `step` milliseconds.
    fn round(&mut self, members: &[Member<'_>], step: u64, lag: impl Fn(&Member<'_>) -> u64) {
        for _ in 0..100 / step {
            self.now += step;
            let standing = Standing::Primary {
                insert: Lsn::new(self.now),
                timeline: Timeline::new(1),
                writable: true,
                completed: None,
            };
            self.tell(PRIMARY, standing, 7);
        }
        for (id, member) in (1..).map(NodeId::new).zip(members) {
            if member.state != "unseen" {
                let replayed = self.replayed.entry(id).or_default();
                *replayed = (self.now - lag(member)).max(*replayed);
                let standing = replays(*replayed);
                self.tell(id, standing, 7);
            }
        }
    }

    fn tell(&mut self, node: NodeId, standing: Standing, system: u64) {
        let observed = Observation {
            sent_at: at(self.now),
            received_at: at(self.now),
            connection: 1,
            system: SystemId::new(system),
            started: ServerStart::new(self.servers.get(&node).copied().unwrap_or(1)),
            standing,
        };
        self.monitor
            .handle_observation(at(self.now), node, observed, &mut || 0);
    }

    fn disturb(&mut self, id: NodeId, member: &Member<'_>) {
        let replay = Some(Lsn::new(self.now));
        match member.state {
            "paused" => {
                let paused = true;
                self.tell(
                    id,
                    Standing::Replica {
                        replay,
                        paused,
                        follows: None,
                    },
                    7,
                );
            }
            "drained" => self.monitor.handle_drain(at(self.now), id),
            "diverged" => {
                self.tell(id, replays(self.now + 50), 7);
                let standing = Standing::Primary {
                    insert: Lsn::new(self.now),
                    timeline: Timeline::new(1),
                    writable: true,
                    completed: None,
                };
                self.tell(PRIMARY, standing, 7);
            }
            "foreign" => self.tell(id, replays(self.now), 8),
            "gone" => {
                let gone = ProbeFailure::Connect;
                self.monitor
                    .handle_failure(at(self.now), id, gone, &mut || 0);
            }
            _ => {}
        }
    }
}

fn replays(lsn: u64) -> Standing {
    Standing::Replica {
        replay: Some(Lsn::new(lsn)),
        paused: false,
        follows: None,
    }
}

/// A request as a vector spells it.
#[derive(Debug)]
struct Asked {
    /// When a token came in.
    since: Instant,
    requirement: Requirement,
    fallback: Fallback,
    wait_until: Instant,
    failed: Vec<NodeId>,
}

impl Asked {
    fn parse(text: &str, now: u64, names: &BTreeMap<&str, NodeId>) -> Self {
        let came = text.split_whitespace().find_map(|word| {
            let back = word.strip_prefix("since=")?;
            Some(ms(back.parse().expect("milliseconds")))
        });
        let mut asked = Self {
            since: at(now).before(came.unwrap_or_default()),
            requirement: Requirement::any(),
            fallback: Fallback::Primary,
            wait_until: at(now),
            failed: Vec::new(),
        };
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            asked.add(key, value, now);
            if key == "read" {
                let (name, back) = value.split_once('/').expect("replica and time");
                let seen = Sight {
                    node: names[name],
                    incarnation: Incarnation::default(),
                };
                let ended = at(now).before(ms(back.parse().expect("milliseconds")));
                let floor = Requirement::at_least(Floor::read(ended, Some(seen)));
                asked.requirement = asked.requirement.and(floor);
            }
            if key == "failed" {
                asked.failed.push(names[value]);
            }
        }
        asked
    }

    fn add(&mut self, key: &str, value: &str, now: u64) {
        let millis = || ms(value.parse().expect("milliseconds"));
        let floor = |floor| Requirement::at_least(floor);
        let position = |system, timeline, lsn| {
            let position = Position {
                system: SystemId::new(system),
                timeline: Timeline::new(timeline),
                lsn: Lsn::new(lsn),
            };
            floor(Floor::position(position, self.since))
        };
        let more = match key {
            "within" => Requirement::within(millis()),
            "wrote" => floor(Floor::as_of(at(now).before(millis()))),
            "writing" => floor(Floor::as_of(Instant::NEVER)),
            "primary" => Requirement::primary(),
            "foreign-token" => position(8, 1, 1),
            "token" => {
                let (timeline, back) = value.split_once('/').expect("timeline and place");
                let back: u64 = back.parse().expect("milliseconds");
                position(7, timeline.parse().expect("a timeline"), now - back)
            }
            "freshest" => {
                self.fallback = Fallback::Freshest;
                Requirement::any()
            }
            "then" => {
                self.fallback = Fallback::PrimaryThenFreshest;
                Requirement::any()
            }
            "refuse" => {
                self.fallback = Fallback::Refuse;
                Requirement::any()
            }
            "wait" => {
                self.wait_until = at(now).after(millis());
                Requirement::any()
            }
            "any" | "failed" | "read" | "since" => Requirement::any(),
            unknown => panic!("no request is spelled {unknown}"),
        };
        self.requirement = self.requirement.and(more);
    }

    fn request(&self) -> Request<'_> {
        Request {
            requirement: self.requirement,
            fallback: self.fallback,
            wait_until: self.wait_until,
            failed: &self.failed,
        }
    }
}

fn outcome(snapshot: &Snapshot, asked: &Asked, now: u64) -> String {
    let name = |id: NodeId| snapshot.nodes[id.index()].spec.name.to_string();
    let rejections = match select(snapshot, asked.request(), at(now), &|_| 0, &mut || 0) {
        Selection::Replica(candidate) => return name(candidate.node),
        Selection::None(rejections) => rejections,
    };
    let step = match next_step(snapshot, asked.request(), &rejections, at(now)) {
        Step::Wait => "wait".to_owned(),
        Step::Primary(reason) => format!("primary {reason}"),
        Step::Freshest(candidate) => format!("freshest {}", name(candidate.node)),
        Step::Refuse => "refuse".to_owned(),
    };
    let why = rejections
        .iter()
        .map(|(id, rejection)| format!("; {} {rejection}", name(id)));
    std::iter::once(step).chain(why).collect()
}

/// What is left where the primary cannot take the read.
fn last_resort(snapshot: &Snapshot, asked: &Asked, now: u64) -> String {
    let left = without_primary(snapshot, asked.request(), at(now), &|_| 0, &mut || 0);
    left.map_or_else(
        || "refuse".to_owned(),
        |(candidate, reason)| {
            let name = &snapshot.nodes[candidate.node.index()].spec.name;
            format!("{reason} {name}")
        },
    )
}

#[test]
fn every_vector_comes_out_as_it_says() {
    check(VECTORS, 40, outcome);
}

#[test]
fn every_vector_of_balanced_nodes_comes_out_as_it_says() {
    check(BALANCED, 25, outcome);
}

#[test]
fn every_vector_without_a_primary_comes_out_as_it_says() {
    check(WITHOUT_PRIMARY, 30, last_resort);
}

#[test]
fn every_vector_of_the_freshest_without_a_primary_comes_out_as_it_says() {
    check(THEN_FRESHEST, 14, last_resort);
}

#[test]
fn a_threshold_of_zero_never_lets_a_late_replica_serve_and_of_a_hundred_only_when_all_are() {
    for (threshold, cluster, expected) in [
        (0, "a:5000 b:9000", "refuse"),
        (100, "a:5000 b:gone", "refuse"),
        (100, "a:5000 b:9000", "panic a"),
        (1, "a:5000 b:gone c:gone", "panic a"),
    ] {
        let (mut snapshot, now) = staged(cluster);
        let mut policy = Policy::clone(&snapshot.policy);
        policy.panic_threshold = threshold;
        snapshot.policy = std::sync::Arc::new(policy.validate().expect("it can be honored"));
        let asked = Asked::parse("any", now, &BTreeMap::new());
        let left = last_resort(&snapshot, &asked, now);
        assert_eq!(left, expected, "{threshold} % of {cluster}");
    }
}

#[test]
fn nobody_is_served_by_a_replica_beyond_the_ceiling() {
    for (ceiling, expected) in [(5_000, "panic a"), (4_999, "refuse")] {
        let (mut snapshot, now) = staged("a:5000");
        let mut policy = Policy::clone(&snapshot.policy);
        policy.lag_ceiling = ms(ceiling);
        snapshot.policy = std::sync::Arc::new(policy.validate().expect("it can be honored"));
        let asked = Asked::parse("any", now, &BTreeMap::new());
        assert_eq!(last_resort(&snapshot, &asked, now), expected, "{ceiling}");
    }
}

#[test]
fn of_late_replicas_it_is_not_always_the_same_that_serves() {
    let (snapshot, now) = staged("a:5000 b:9000 c:20000");
    let asked = Asked::parse("any", now, &BTreeMap::new());
    let mut random = generator(5);
    let mut served = [0_u32; 4];
    for _ in 0..300 {
        let left = without_primary(&snapshot, asked.request(), at(now), &|_| 1, &mut random);
        let (candidate, _) = left.expect("all are late");
        served[candidate.node.index()] += 1;
    }
    assert!(served[1..].iter().all(|times| *times > 50), "{served:?}");
}

/// Asserts that every vector comes out as it says, and that there are so many at least.
fn check(vectors: &str, least: usize, outcome: fn(&Snapshot, &Asked, u64) -> String) {
    let lines = vectors.lines().map(str::trim);
    let (mut tried, mut stages) = (0, BTreeMap::new());
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (given, expected) = line.split_once("=>").expect("a vector has an outcome");
        let (cluster, request) = given.split_once('|').expect("a vector has a request");
        let members: Vec<Member<'_>> = cluster
            .split_whitespace()
            .filter(|member| *member != "no")
            .map(Member::parse)
            .collect();
        // Many vectors are of the same cluster, and asking changes nothing in it.
        let stage = stages
            .entry(cluster.trim())
            .or_insert_with(|| Stage::new(&members));
        let ids = members.iter().map(|member| member.name);
        let names = ids.zip((1..).map(NodeId::new)).collect();
        let asked = Asked::parse(request, stage.now, &names);
        let snapshot = stage.monitor.snapshot(at(stage.now));
        assert_eq!(
            outcome(&snapshot, &asked, stage.now),
            expected.trim(),
            "vector: {line}"
        );
        tried += 1;
    }
    assert!(tried >= least, "{tried} vectors were found");
}

/// How often each of the members is chosen, in thousandths of 20,000 draws.
fn shares(cluster: &str, costs: [u64; 3], later: u64) -> [u64; 3] {
    let members: Vec<Member<'_>> = cluster.split_whitespace().map(Member::parse).collect();
    let stage = Stage::new(&members);
    let snapshot = stage.monitor.snapshot(at(stage.now));
    let mut random = generator(7);
    let mut chosen = [0; 3];
    let asked = Asked::parse("any", stage.now, &BTreeMap::new());
    let cost = |node: NodeId| costs[node.index() - 1];
    for _ in 0..20_000 {
        let now = at(stage.now + later);
        match select(&snapshot, asked.request(), now, &cost, &mut random) {
            Selection::Replica(candidate) => chosen[candidate.node.index() - 1] += 1,
            Selection::None(rejections) => panic!("{rejections:?}"),
        }
    }
    chosen.map(|many: u64| many / 20)
}

fn assert_shares(cluster: &str, costs: [u64; 3], expected: [u64; 3]) {
    let got = shares(cluster, costs, 0);
    let near = got
        .iter()
        .zip(expected)
        .all(|(got, expected)| got.abs_diff(expected) <= 20);
    assert!(near, "{cluster} {costs:?}: {got:?} instead of {expected:?}");
}

#[test]
fn equal_replicas_get_equal_shares() {
    assert_shares("a:0 b:0 c:0", [5, 5, 5], [333, 333, 333]);
}

#[test]
fn weights_of_one_to_three_get_a_quarter_and_three_quarters() {
    assert_shares("a:0,w100 b:0,w300", [5, 5, 5], [250, 750, 0]);
}

#[test]
fn of_two_choices_the_cheaper_one_is_taken() {
    assert_shares("a:0 b:0", [5, 4, 0], [0, 1000, 0]);
    assert_shares("a:0 b:0 c:0", [9, 5, 1], [0, 333, 667]);
}

#[test]
fn a_zone_gets_everything_while_it_has_a_replica_and_nothing_after() {
    assert_shares("a:0 b:0,far c:0", [5, 1, 5], [500, 0, 500]);
    assert_shares("a:5000 b:0,far c:unseen", [5, 5, 5], [0, 1000, 0]);
}

#[test]
fn a_weight_of_zero_gets_nothing_while_another_serves() {
    assert_shares("a:0,w0 b:0,w1 c:0,far", [1, 9, 9], [0, 1000, 0]);
}

/// `b` leaves and returns, so that it starts slowly beside `a`, which costs 5.
fn share_of_a_returned_replica(after: u64, cost: u64) -> u64 {
    let members: Vec<Member<'_>> = ["a:0", "b:0"].into_iter().map(Member::parse).collect();
    let mut stage = Stage::new(&members);
    let b = NodeId::new(2);
    stage
        .monitor
        .handle_failure(at(stage.now), b, ProbeFailure::Connect, &mut || 0);
    while !stage.monitor.snapshot(at(stage.now)).nodes[2]
        .membership
        .is_in_rotation()
    {
        stage.round(&members, 100, |_| 0);
    }
    let snapshot = stage.monitor.snapshot(at(stage.now));
    let asked = Asked::parse("any", stage.now, &BTreeMap::new());
    let mut random = generator(11);
    let mut chosen = 0;
    for _ in 0..20_000 {
        let now = at(stage.now + after);
        let cost = |node: NodeId| if node == b { cost } else { 5 };
        let selected = select(&snapshot, asked.request(), now, &cost, &mut random);
        let Selection::Replica(candidate) = selected else {
            panic!("both are in rotation: {selected:?}");
        };
        chosen += u64::from(candidate.node == b);
    }
    chosen / 20
}

#[test]
fn a_returned_replica_gets_no_more_than_its_share_for_being_idle() {
    for (after, least, most) in [(0, 100, 220), (5_000, 550, 800), (10_000, 980, 1_000)] {
        let share = share_of_a_returned_replica(after, 1);
        assert!(
            (least..=most).contains(&share),
            "{after} ms after its return an idle one gets {share} of a thousand"
        );
    }
}

#[test]
fn a_returned_replica_gets_its_share_back_by_and_by() {
    for (after, expected) in [(0, 91), (2_000, 167), (5_000, 333), (10_000, 500)] {
        let share = share_of_a_returned_replica(after, 5);
        assert!(
            share.abs_diff(expected) <= 20,
            "{after} ms after its return: {share} instead of {expected} of a thousand"
        );
    }
}

/// The first replica of a cluster, and what its snapshot says of a connection.
fn staged(cluster: &str) -> (Snapshot, u64) {
    let members: Vec<Member<'_>> = cluster.split_whitespace().map(Member::parse).collect();
    let stage = Stage::new(&members);
    (stage.monitor.snapshot(at(stage.now)), stage.now)
}

#[test]
fn a_connection_of_before_is_proved_by_the_observation_after_it() {
    let a = NodeId::new(1);
    let (snapshot, now) = staged("a:300");
    let ask = |text: &str, later: u64| {
        let asked = Asked::parse(text, now, &BTreeMap::new());
        recheck(&snapshot, a, &asked.requirement, at(now + later))
    };
    let shown = at(now - 300);
    assert_eq!(ask("any", 0), Ok(shown.into()));
    assert_eq!(ask("wrote=300 token=1/300 within=300", 0), Ok(shown.into()));
    assert!(
        ask("within=300", 1).is_err(),
        "time has passed since it was chosen"
    );
    assert!(
        ask("wrote=299", 0).is_err(),
        "the session has written since"
    );
    assert_eq!(ask("token=1/299", 0), Err(Rejection::BehindPosition));
    let nobody = recheck(&snapshot, NodeId::new(9), &Requirement::any(), at(now));
    assert!(
        nobody.is_err(),
        "nothing is proved of a node that nobody knows"
    );
}

#[test]
fn a_fresh_connection_is_proved_by_nothing_but_what_it_shows() {
    let a = NodeId::new(1);
    let (snapshot, now) = staged("a:0");
    let ask = |text: &str, behind: u64| {
        let asked = Asked::parse(text, now, &BTreeMap::new());
        let replay = Lsn::new(now - behind);
        recheck_fresh(&snapshot, a, &asked.requirement, replay, at(now))
    };
    assert_eq!(ask("any", 0), Ok(at(now).into()));
    assert_eq!(ask("token=1/0", 0), Ok(at(now).into()));
    assert_eq!(
        ask("token=1/0", 1),
        Err(Rejection::BehindPosition),
        "that the node once was there counts for nothing"
    );
    assert!(
        ask("wrote=0", 1).is_err(),
        "it has gone back behind the write"
    );
    assert!(ask("within=10", 20).is_err(), "and behind the bound");
    assert!(
        ask("any", 1_000_000).is_err(),
        "or behind all that is known"
    );
}

#[test]
fn a_fresh_connection_to_a_node_of_which_nothing_is_proved_is_not_asked() {
    for state in ["unseen", "diverged", "foreign", "gone"] {
        let (snapshot, now) = staged(&format!("a:{state}"));
        let any = Requirement::any();
        let shown = recheck_fresh(&snapshot, NodeId::new(1), &any, Lsn::new(now), at(now));
        assert!(
            shown.is_err(),
            "a position of a node that is {state} says nothing"
        );
    }
}

#[test]
fn a_balanced_node_is_rechecked_by_the_window_alone() {
    let (snapshot, now) = staged("a:0,lb");
    let ask = |text: &str, later: u64| {
        let asked = Asked::parse(text, now, &BTreeMap::new());
        recheck_assumed(
            &snapshot,
            NodeId::new(1),
            &asked.requirement,
            at(now + later),
        )
    };
    assert_eq!(ask("any", 0), Ok(at(now - 2000)));
    assert_eq!(ask("wrote=1990", 10), Ok(at(now - 1990)));
    assert_eq!(
        ask("wrote=1990", 9),
        Err(Rejection::InWindow {
            until: at(now + 10)
        }),
        "the session has written since it was chosen"
    );
    assert!(ask("within=900000", 0).is_err());
    let asked = Requirement::any();
    let (snapshot, now) = staged("a:paused,lb");
    assert!(recheck_assumed(&snapshot, NodeId::new(1), &asked, at(now)).is_err());
    let view = &staged("a:0,lb").0.nodes[1];
    assert_eq!(
        (view.as_of, view.passed),
        (None, None),
        "nothing is proved of it"
    );
}

#[test]
fn a_balanced_node_that_accepts_writes_is_not_taken_for_the_primary() {
    let members: Vec<Member<'_>> = ["a:0,lb"].into_iter().map(Member::parse).collect();
    let mut stage = Stage::new(&members);
    let promoted = Standing::Primary {
        insert: Lsn::new(stage.now),
        timeline: Timeline::new(2),
        writable: true,
        completed: None,
    };
    while stage.monitor.poll_event().is_some() {}
    stage.tell(NodeId::new(1), promoted, 7);
    let snapshot = stage.monitor.snapshot(at(stage.now));
    assert_eq!(snapshot.primary, Some(PRIMARY));
    while let Some(event) = stage.monitor.poll_event() {
        assert_ne!(
            event.as_str(),
            "rival",
            "its next connection leads elsewhere"
        );
    }
    assert!(!snapshot.nodes[1].membership.is_in_rotation());
}

#[test]
fn what_was_read_on_a_server_is_not_looked_for_behind_a_balancer() {
    let members: Vec<Member<'_>> = ["a:0", "b:0,lb"].into_iter().map(Member::parse).collect();
    let mut stage = Stage::new(&members);
    let [a, b] = [1, 2].map(NodeId::new);
    let excused = |stage: &Stage, node: NodeId, server: i64| {
        let snapshot = stage.monitor.snapshot(at(stage.now));
        let wall = WallTime::from_millis(1_000);
        let mut claim = Claim::new(SystemId::new(7), Timeline::new(1), wall);
        claim.read = Some(ReadFrom::Server(ServerStart::new(server), wall));
        let floor = claim.floor(&snapshot, at(stage.now), wall);
        let sight = snapshot.nodes[node.index()].sight();
        floor.needed_from(sight).is_none()
    };
    assert!(excused(&stage, a, 2), "it has run on since");
    assert!(
        !excused(&stage, b, 3),
        "its next connection leads elsewhere"
    );
    // It happens to lead the monitor to the server that has an address of its own as well.
    stage.servers.insert(b, 2);
    for _ in 0..40 {
        stage.round(&members, 100, |_| 0);
    }
    assert!(excused(&stage, a, 2), "it is that server all the same");
    assert!(!excused(&stage, b, 2));
}

#[test]
fn a_rejection_and_a_reason_are_told_apart_by_their_words() {
    let reasons = [
        Reason::Asked,
        Reason::BehindFloor,
        Reason::BeyondBound,
        Reason::DryRun,
        Reason::Eligible,
        Reason::Failed,
        Reason::Freshest,
        Reason::NoReplica,
        Reason::NoneInRotation,
        Reason::Panic,
        Reason::Write,
    ];
    let words: BTreeSet<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), reasons.len(), "metric labels are distinct");
    let unknown = Rejection::BeyondBound {
        bound: ms(5),
        staleness: None,
    };
    assert_eq!(
        unknown.to_string(),
        "of unknown staleness, where 5ms is accepted"
    );
    assert_eq!(generator(1).below(0), 0, "the generator is the trait's");
}
