//! What watching costs: processor time of this process and of the servers, for each node that is watched.
//!
//! A router that nobody uses does nothing but watch. It is set up for each turn and measured once it
//! knows its nodes; nobody watches in one turn of each round, and what the servers and this process use
//! then is taken off. The catalog is not read, so that nothing but probes is counted. A second primary
//! writes all the time: by itself, without a client that would be counted.

use std::time::Duration;

use lagwise::{NodeConfig, PgRouter};
use tokio::task::JoinSet;

use crate::figure::{Figure, Unit};
use crate::stage::Stage;
use crate::{Result, clock};

/// A commit every ten milliseconds, until the server stops.
const WRITES: &str = "
    do $$ begin loop
        update counter set n = n + 1 where id = (random() * 999)::int;
        commit;
        perform pg_sleep(0.01);
    end loop; end $$";

/// How a router watches.
#[derive(Clone, Copy, Debug)]
struct Watch {
    name: &'static str,
    interval: Duration,
    /// Whether it is as fast as it is while somebody reads.
    awake: bool,
}

const fn awake(name: &'static str, millis: u64) -> Watch {
    Watch {
        name,
        interval: Duration::from_millis(millis),
        awake: true,
    }
}

const ALL: [Watch; 4] = [
    awake("10 ms", 10),
    awake("100 ms", 100),
    awake("1 s", 1000),
    // As without any setting: 100 ms, and 250 ms once nobody has read for a while.
    Watch {
        name: "idle",
        interval: Duration::from_millis(100),
        awake: false,
    },
];

/// Processor time, in percent of a core.
#[derive(Clone, Copy, Debug)]
struct Used {
    here: f64,
    servers: f64,
}

/// A stage, and who is watched on it under which addresses.
struct Watched<'a> {
    stage: &'a Stage,
    urls: Vec<String>,
}

impl Watched<'_> {
    async fn watch(&self, watch: Watch) -> Result<PgRouter> {
        let idle_after = if watch.awake { NEVER } else { Duration::ZERO };
        let mut builder = PgRouter::builder()
            .max_lag(watch.interval * 10)
            .poll_interval(watch.interval)
            .policy(|policy| policy.idle_after = idle_after)
            .without_catalog()
            .primary(NodeConfig::url(&self.urls[0]).name("0"));
        for (number, url) in self.urls.iter().enumerate().skip(1) {
            builder = builder.replica(NodeConfig::url(url).name(number.to_string()));
        }
        let router = builder.connect().await?;
        router.ready(self.urls.len() - 1, PATIENCE).await?;
        Ok(router)
    }

    /// What is used while a router watches, or nobody does.
    async fn measure(&self, watch: Option<Watch>, length: Duration) -> Result<Used> {
        let router = match watch {
            Some(watch) => Some(self.watch(watch).await?),
            None => None,
        };
        tokio::time::sleep(SETTLE).await;
        let before = (clock::of_this_process(), self.of_servers()?, clock::now());
        tokio::time::sleep(length).await;
        let here = clock::of_this_process().saturating_sub(before.0);
        let servers = self.of_servers()?.saturating_sub(before.1);
        let passed = clock::now().saturating_sub(before.2);
        if let Some(router) = router {
            router.close().await;
        }
        let percent = |used: Duration| used.as_secs_f64() / passed.as_secs_f64() * 100.0;
        Ok(Used {
            here: percent(here),
            servers: percent(servers),
        })
    }

    fn of_servers(&self) -> Result<Duration> {
        self.stage
            .cluster
            .nodes()
            .iter()
            .map(clock::of_server)
            .sum()
    }

    /// Has the watches take turns with nobody, and tells what each node cost each time.
    async fn compare(
        &self,
        watches: &[Watch],
        rounds: (usize, Duration),
    ) -> Result<Vec<Vec<Used>>> {
        let (rounds, length) = rounds;
        let mut found = vec![Vec::new(); watches.len()];
        for round in 0..rounds {
            let nobody = self.measure(None, length).await?;
            for turn in 0..watches.len() {
                // Who begins changes from round to round.
                let who = (turn + round) % watches.len();
                let used = self.measure(Some(watches[who]), length).await?;
                let nodes = self.urls.len() as f64;
                found[who].push(Used {
                    here: (used.here - nobody.here) / nodes,
                    servers: (used.servers - nobody.servers) / nodes,
                });
            }
        }
        Ok(found)
    }
}

pub(super) async fn measure(quick: bool) -> Result<Vec<Figure>> {
    let stage = Stage::set_with(2, &[("max_connections", "400")]).await?;
    let rounds = if quick {
        (1, Duration::from_millis(300))
    } else {
        (5, Duration::from_millis(2500))
    };
    let each = Watched {
        stage: &stage,
        urls: (0..3).map(|number| stage.url(number).to_owned()).collect(),
    };
    let mut figures = Vec::new();
    let found = each.compare(&ALL, rounds).await?;
    for (watch, used) in ALL.iter().zip(&found) {
        figures.extend(tell(watch.name, used));
    }
    figures.extend(crowd(&stage, quick).await?);

    let mut writer = stage.cluster.primary().connect().await?;
    let mut writing = JoinSet::new();
    writing.spawn(async move { sqlx::raw_sql(WRITES).execute(&mut writer).await });
    let awake = &ALL[1..2];
    let found = each.compare(awake, rounds).await?;
    figures.extend(tell("100 ms, writing primary", &found[0]));
    writing.abort_all();
    stage.cluster.shutdown().await?;
    Ok(figures)
}

/// Many nodes: entries for three servers, under as many addresses.
async fn crowd(stage: &Stage, quick: bool) -> Result<Vec<Figure>> {
    let nodes = if quick { 16 } else { 256 };
    let entry = |number: usize| {
        let server = if number == 0 { 0 } else { 1 + number % 2 };
        format!("{}&application_name={number}", stage.url(server))
    };
    let many = Watched {
        stage,
        urls: (0..nodes).map(entry).collect(),
    };
    let rounds = if quick { 1 } else { 3 };
    let found = many
        .compare(&ALL[1..2], (rounds, Duration::from_secs(2)))
        .await?;
    Ok(tell(
        &format!("100 ms, {nodes} nodes on 3 servers"),
        &found[0],
    ))
}

/// What each watched node costs, in percent of a core.
fn tell(watch: &str, used: &[Used]) -> Vec<Figure> {
    let figure = |what: &str, of: fn(&Used) -> f64| {
        let rounds: Vec<f64> = used.iter().map(of).collect();
        Figure::of(format!("monitor/{watch}/{what}"), Unit::Percent, &rounds)
    };
    let both = figure("both", |used| used.here + used.servers);
    vec![
        figure("this process", |used| used.here),
        figure("server", |used| used.servers),
        match watch {
            "100 ms" => both.at_most(0.3),
            _ => both,
        },
    ]
}

/// How long a router may take to know its nodes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the last router leaves behind ends, and what the next one begins with.
const SETTLE: Duration = Duration::from_millis(300);

/// Longer than anything here lasts.
const NEVER: Duration = Duration::from_secs(3600);
