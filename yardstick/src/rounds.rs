//! Contenders that take turns, and what each of them needed beside the one they are compared with.
//!
//! A round gives each contender a slice of time, in an order that changes from round to round. A figure
//! compares what two of them needed within the same round, so that whatever else the machine does is
//! done to both. How long a call took is the median of a slice; processor time is that of all its calls.

use std::future::Future;
use std::time::Duration;

use lagwise_testkit::Node;
use tokio::task::JoinSet;

use crate::figure::{Figure, Unit, quantile};
use crate::{Result, clock};

/// Somebody who makes one call after the other.
pub(crate) trait Caller: Send + 'static {
    /// Makes one call.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// What a contender needed for a call in one slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// How long the middle one of the calls took, in microseconds.
    pub(crate) latency: f64,
    /// Processor time of this process for each call, in microseconds.
    pub(crate) client: f64,
    /// Processor time of the servers for each call, in microseconds.
    pub(crate) server: f64,
    /// What of that was the first server's.
    pub(crate) primary: f64,
    /// Processor time of proxies for each call, in microseconds.
    pub(crate) proxy: f64,
    /// How many calls were made in a second.
    pub(crate) rate: f64,
}

/// A contender: its callers make their calls at the same time.
struct Contender<C> {
    callers: Vec<C>,
}

type Turn<'a> = futures_core::future::BoxFuture<'a, Result<Vec<f64>>>;

trait Contend: Send {
    /// Calls for so long; how long each call took, in microseconds.
    fn take_turn(&mut self, length: Duration) -> Turn<'_>;
}

impl<C: Caller> Contend for Contender<C> {
    fn take_turn(&mut self, length: Duration) -> Turn<'_> {
        Box::pin(async move {
            let until = clock::now() + length;
            let mut tasks = JoinSet::new();
            for caller in self.callers.drain(..) {
                tasks.spawn(call_until(caller, until));
            }
            let mut all = Vec::new();
            while let Some(ended) = tasks.join_next().await {
                let (caller, took) = ended??;
                self.callers.push(caller);
                all.extend(took);
            }
            Ok(all)
        })
    }
}

async fn call_until<C: Caller>(mut caller: C, until: Duration) -> Result<(C, Vec<f64>)> {
    let mut took = Vec::with_capacity(1 << 14);
    let mut began = clock::now();
    while began < until {
        caller.call().await?;
        let ended = clock::now();
        took.push(ended.saturating_sub(began).as_secs_f64() * 1e6);
        began = ended;
    }
    Ok((caller, took))
}

/// Contenders, and what they needed so far.
pub(crate) struct Rounds<'a> {
    servers: Vec<&'a Node>,
    /// The first process of each.
    proxies: Vec<u32>,
    names: Vec<&'static str>,
    contenders: Vec<Box<dyn Contend>>,
    samples: Vec<Vec<Sample>>,
}

impl<'a> Rounds<'a> {
    /// Nobody yet; the processor time of these servers is counted.
    pub(crate) fn on(servers: impl IntoIterator<Item = &'a Node>) -> Self {
        Self {
            servers: servers.into_iter().collect(),
            proxies: Vec::new(),
            names: Vec::new(),
            contenders: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Counts the processor time of this process and its children as well.
    pub(crate) fn through(mut self, proxy: u32) -> Self {
        self.proxies.push(proxy);
        self
    }

    /// One more contender.
    pub(crate) fn with<C: Caller>(mut self, name: &'static str, callers: Vec<C>) -> Self {
        self.names.push(name);
        self.contenders.push(Box::new(Contender { callers }));
        self.samples.push(Vec::new());
        self
    }

    /// Has all of them take turns; the first one only warms up.
    pub(crate) async fn run(mut self, rounds: usize) -> Result<Compared> {
        let contenders = self.contenders.len();
        for turn in 0..(rounds + 1) * contenders {
            // Who begins changes from round to round.
            let who = (turn + turn / contenders) % contenders;
            let sample = self.sample(who).await?;
            if turn >= contenders {
                self.samples[who].push(sample);
            }
        }
        Ok(Compared {
            names: self.names,
            samples: self.samples,
        })
    }

    async fn sample(&mut self, who: usize) -> Result<Sample> {
        let before = self.used()?;
        let began = clock::now();
        let mut took = self.contenders[who].take_turn(SLICE).await?;
        let wall = clock::now().saturating_sub(began);
        // What a call leaves behind for others to do, such as giving a connection back, is a part of it.
        tokio::time::sleep(SETTLE).await;
        let after = self.used()?;
        took.sort_by(f64::total_cmp);
        let calls = took.len() as f64;
        let each = |of: fn(&Used) -> Duration| {
            let used = of(&after).saturating_sub(of(&before));
            used.as_secs_f64() * 1e6 / calls
        };
        Ok(Sample {
            latency: quantile(&took, 50),
            client: each(|used| used.client),
            server: each(|used| used.servers),
            primary: each(|used| used.primary),
            proxy: each(|used| used.proxies),
            rate: calls / wall.as_secs_f64(),
        })
    }

    fn used(&self) -> Result<Used> {
        let servers = self.servers.iter().map(|node| clock::of_server(node));
        let servers: Vec<Duration> = servers.collect::<Result<_>>()?;
        let proxies = self.proxies.iter().map(|first| clock::of_family(*first));
        Ok(Used {
            client: clock::of_this_process(),
            primary: servers.first().copied().unwrap_or_default(),
            servers: servers.iter().sum(),
            proxies: proxies.sum::<Result<_>>()?,
        })
    }
}

/// The processor time that was used so far.
struct Used {
    client: Duration,
    primary: Duration,
    servers: Duration,
    proxies: Duration,
}

/// What each contender needed, in each round.
pub(crate) struct Compared {
    names: Vec<&'static str>,
    samples: Vec<Vec<Sample>>,
}

impl Compared {
    /// What one contender needed, in each round.
    pub(crate) fn of(&self, name: &str) -> &[Sample] {
        let place = self.names.iter().position(|one| *one == name);
        place.map_or(&[], |place| &self.samples[place])
    }

    /// What one contender needed.
    pub(crate) fn figure(
        &self,
        name: impl Into<String>,
        unit: Unit,
        who: &str,
        what: fn(&Sample) -> f64,
    ) -> Figure {
        let rounds: Vec<f64> = self.of(who).iter().map(what).collect();
        Figure::of(name, unit, &rounds)
    }

    /// What one contender needed beside another in the same rounds.
    pub(crate) fn ratio(
        &self,
        name: impl Into<String>,
        who: &str,
        to: &str,
        what: fn(&Sample) -> f64,
    ) -> Figure {
        self.pairs(name, Unit::Ratio, (who, to), |one, other| {
            what(one) / what(other)
        })
    }

    /// What two contenders needed in the same rounds, as `compare` compares it.
    pub(crate) fn pairs(
        &self,
        name: impl Into<String>,
        unit: Unit,
        (who, to): (&str, &str),
        compare: impl Fn(&Sample, &Sample) -> f64,
    ) -> Figure {
        let pairs = self.of(who).iter().zip(self.of(to));
        let rounds: Vec<f64> = pairs.map(|(one, other)| compare(one, other)).collect();
        Figure::of(name, unit, &rounds)
    }
}

/// How long a contender's turn lasts.
const SLICE: Duration = Duration::from_millis(150);

/// How long what it leaves behind may take.
const SETTLE: Duration = Duration::from_millis(10);
