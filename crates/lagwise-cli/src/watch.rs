//! `lagwise watch`: the cluster on a screen, as it changes.
//!
//! What is shown are the router's own verdicts, of a router that serves nobody, and what the servers
//! say of themselves. Unknown is shown as unknown. Input and the terminal are all that does I/O: what
//! comes in makes a `state`, a state makes a `screen` of lines, and `view` paints them.

use std::time::Duration;

use clap::Args;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::console::{self, Findings, Wanted};
use crate::failure::Failure;
use crate::format::{Format, duration};
use crate::nodes::NodeArgs;
use crate::signal::{self, Interrupt};

use self::report::Report;
use self::state::Scene;
use self::watcher::Watcher;

mod cells;
mod clock;
mod input;
mod live;
mod log;
mod look;
mod order;
mod pace;
mod plain;
mod report;
mod row;
#[cfg(test)]
mod scenes;
mod screen;
mod state;
mod table;
mod terminal;
mod track;
mod view;
mod watcher;
mod zoom;

/// Shows every node as it changes: who takes reads and why not, how far behind, and until when.
///
/// The verdicts are those that a service's router reaches with the same settings. Keys sort, zoom and
/// pause; `?` explains them and the columns.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Prints one table once every node is heard, and ends.
    #[arg(long)]
    once: bool,
    /// What to print: for people a full screen, or with `--once` a table; for programs a JSON object each
    /// interval, or with `--once` one.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The time between two JSON objects.
    #[arg(long, value_name = "TIME", value_parser = interval_of, default_value = "1s")]
    interval: Duration,
    /// How long to wait for nodes that say nothing, before the first output of `--once` and of JSON.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "3s")]
    timeout: Duration,
    // Last, since all that follows would stand under its heading.
    #[command(flatten)]
    nodes: NodeArgs,
}

const AFTER_HELP: &str = "\
Examples:
  lagwise watch --primary postgres://app@db-1/shop --replica postgres://app@db-2/shop
  lagwise watch --url postgres://app@db-1,db-2,db-3/shop
  lagwise watch --config lagwise.toml --once
  lagwise watch --config lagwise.toml --format json | jq '.nodes[] | {name, staleness_seconds}'

Draining:
  `d` takes the selected node out of the rotation of this view alone, to see what would be left.
  No service hears of it, and it ends with the view.

JSON:
  An object holds what the router knows (primary, timeline, nodes and so on), `vitals` (what each
  server says of itself, or null), `unwell` (why it did not) and `pace` (bytes a second). What is
  unknown is null, never 0.

Color is used on a terminal, unless NO_COLOR is set; no meaning is in color alone.

Exit codes:
  0    it was ended by q, Esc, Ctrl-C or a signal, or --once has printed, or whoever read the
       output wanted no more
  1    the terminal or standard output failed
  2    the command line cannot be meant, or there is no terminal to draw on
  130  --once was interrupted before it printed";

/// A shorter interval would tell nothing new.
fn interval_of(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < LEAST_INTERVAL {
        return Err("give at least 100ms: nodes are not asked more often".to_owned());
    }
    Ok(interval)
}

const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// Watches until there is no more to be seen.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let on_screen = !arguments.once && arguments.format == Format::Text;
    if on_screen && !terminal::is_there() {
        return Err(Failure::NoTerminal);
    }
    let nodes = arguments.nodes.resolve()?;
    let runtime = signal::runtime()?;
    let outcome = runtime.block_on(async {
        if on_screen {
            return live::run(&nodes).await;
        }
        let interrupt = Interrupt::listen()?;
        let mut watcher = Watcher::start(&nodes)?;
        let outcome = print(arguments, &mut watcher, interrupt).await;
        watcher.close().await;
        outcome
    });
    // A name that is still being looked up does not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn print(
    arguments: &Arguments,
    watcher: &mut Watcher,
    mut interrupt: Interrupt,
) -> Result<(), Failure> {
    let mut scene = watcher.scene();
    tokio::select! {
        () = interrupt.come() => {
            return if arguments.once { Err(Failure::Interrupted) } else { Ok(()) };
        }
        () = sleep(arguments.timeout) => {}
        () = settle(watcher, &mut scene) => {}
    }
    if arguments.once && arguments.format == Format::Text {
        let rows = plain::table(&scene, terminal::columns());
        put(&plain::text(&rows, console::colored()))?;
        return Ok(());
    }
    loop {
        let wanted = put(&object(watcher, &mut scene)?)?;
        if arguments.once || wanted == Wanted::Nothing {
            return Ok(());
        }
        tokio::select! {
            () = interrupt.come() => return Ok(()),
            () = sleep(arguments.interval) => {}
            () = keep_up(watcher, &mut scene) => {}
        }
    }
}

/// Takes in all that comes, until every node is heard and placed.
async fn settle(watcher: &mut Watcher, scene: &mut Scene) {
    let mut looks = interval(LOOK_EVERY);
    while !scene.is_settled() {
        tokio::select! {
            news = watcher.news() => news.tell(scene),
            _ = looks.tick() => scene.take(watcher.look()),
        }
    }
}

/// Takes in all that comes, for as long as it is waited for.
async fn keep_up(watcher: &mut Watcher, scene: &mut Scene) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            news = watcher.news() => news.tell(scene),
            _ = looks.tick() => scene.take(watcher.look()),
        }
    }
}

fn object(watcher: &Watcher, scene: &mut Scene) -> Result<String, Failure> {
    let cluster = watcher.cluster();
    scene.take(look::Look::of(&cluster, lagwise::now()));
    let report = Report::new(scene, &cluster);
    let mut text = serde_json::to_string(&report).map_err(|error| Failure::Output(error.into()))?;
    text.push('\n');
    Ok(text)
}

fn put(text: &str) -> Result<Wanted, Failure> {
    let mut findings = Findings::new();
    match findings.put(text.as_bytes())? {
        Wanted::More => findings.show(),
        Wanted::Nothing => Ok(Wanted::Nothing),
    }
}

/// Between two looks at what the router knows.
const LOOK_EVERY: Duration = Duration::from_millis(100);
