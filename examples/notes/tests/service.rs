//! The service, asked as its clients ask it, on a real primary and a real replica.
//!
//! Every test but those about replicas also holds on the plain pool: `--features plain-pool`.
#![expect(clippy::unwrap_used, reason = "what a test stands on may fail it")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, Request, StatusCode};
use lagwise_notes::app::{App, app};
use lagwise_notes::db::{self, Db};
use lagwise_notes::hearing::{Heard, listen};
use lagwise_notes::nodes::Nodes;
use lagwise_notes::{cleaning, notes};
use lagwise_testkit::Cluster;
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::postgres::{PgAdvisoryLock, PgConnection};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

/// The service on a cluster of its own.
struct Stage {
    db: Db,
    app: Router,
    heard: Heard,
    cluster: Cluster,
    /// What each visitor's browser keeps: cookies by name.
    kept: Mutex<BTreeMap<String, Cookies>>,
}

type Cookies = BTreeMap<String, String>;

impl Stage {
    async fn set() -> Self {
        let (nodes, cluster) = Nodes::start().await.unwrap();
        let db = db::open(&nodes).await.unwrap();
        notes::migrate(&db).await.unwrap();
        #[cfg(not(feature = "plain-pool"))]
        db.ready(1, Duration::from_secs(20)).await.unwrap();
        let heard = Heard::default();
        let state = App {
            db: db.clone(),
            heard: heard.clone(),
        };
        Self {
            db,
            app: app(state),
            heard,
            cluster,
            kept: Mutex::default(),
        }
    }

    /// Asks as one and the same visitor, and returns the answer's status and text.
    async fn ask(&self, what: &str, body: impl Into<Body>) -> (StatusCode, String) {
        self.ask_as("ada", what, body).await
    }

    async fn ask_as(
        &self,
        visitor: &str,
        what: &str,
        body: impl Into<Body>,
    ) -> (StatusCode, String) {
        let (method, path) = what.split_once(' ').unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header(COOKIE, self.cookies_of(visitor));
        let request = request.body(body.into()).unwrap();
        let answer = self.app.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        self.keep(visitor, answer.headers());
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// What a browser sends.
    fn cookies_of(&self, visitor: &str) -> String {
        let kept = self.kept.lock().unwrap();
        let cookies = kept.get(visitor).into_iter().flatten();
        let pairs: Vec<String> = cookies
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    /// Keeps what an answer sets, as a browser does.
    fn keep(&self, visitor: &str, headers: &HeaderMap) {
        let mut kept = self.kept.lock().unwrap();
        let cookies = kept.entry(visitor.to_owned()).or_default();
        for cookie in headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Asks for what must succeed and answer in JSON.
    async fn json(&self, what: &str, body: impl Into<Body>) -> Value {
        let (status, text) = self.ask(what, body).await;
        assert!(status.is_success(), "{what}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn create(&self, title: &str, tags: &[&str]) -> i64 {
        let draft = json!({ "title": title, "body": format!("about {title}"), "tags": tags });
        let note = self.json("POST /notes", draft.to_string()).await;
        note["id"].as_i64().unwrap()
    }

    async fn end(self) {
        self.db.close().await;
        self.cluster.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_visitor_reads_what_it_wrote() {
    let stage = Stage::set().await;
    for round in 0..20 {
        let id = stage.create("first", &["red", "blue"]).await;
        let path = format!("/notes/{id}");
        let note = stage.json(&format!("GET {path}"), "").await;
        assert_eq!(note["tags"], json!(["blue", "red"]));
        let draft = json!({ "title": "second", "body": round.to_string() });
        let edited = stage.json(&format!("PUT {path}"), draft.to_string()).await;
        assert_eq!(edited["title"], "second");
        assert_eq!(stage.json(&format!("GET {path}"), "").await, edited);
        assert_eq!(stage.json("GET /notes", "").await[0], edited);
    }
    assert_eq!(stage.json("GET /count", "").await["notes"], 20);
    stage.end().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let stage = Stage::set().await;
    let (status, _) = stage.ask("GET /notes/1", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let draft = json!({ "title": "", "body": "" });
    let (status, _) = stage.ask("PUT /notes/1", draft.to_string()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    stage.end().await;
}

#[tokio::test]
async fn a_note_whose_tags_fail_is_not_created() {
    let stage = Stage::set().await;
    let twice = json!({ "title": "t", "body": "b", "tags": ["same", "same"] });
    let (status, _) = stage.ask("POST /notes", twice.to_string()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(stage.json("GET /count", "").await["notes"], 0);
    stage.end().await;
}

#[tokio::test]
async fn a_search_finds_by_text_and_tag() {
    let stage = Stage::set().await;
    stage.create("apples", &["fruit"]).await;
    stage.create("pears", &["fruit"]).await;
    stage.create("apple trees", &["garden"]).await;
    let titles = async |path: &str| -> Vec<String> {
        let found = stage.json(&format!("GET {path}"), "").await;
        let notes = found.as_array().unwrap().iter();
        notes
            .map(|note| note["title"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        titles("/search?text=apple").await,
        ["apple trees", "apples"]
    );
    assert_eq!(titles("/search?tag=fruit").await, ["pears", "apples"]);
    assert_eq!(titles("/search?text=APPLE&tag=fruit").await, ["apples"]);
    assert_eq!(titles("/search?limit=1").await, ["apple trees"]);
    stage.end().await;
}

#[tokio::test]
async fn what_is_imported_is_exported() {
    let stage = Stage::set().await;
    let rows = 5000;
    let csv: String = (0..rows)
        .map(|row| format!("title {row},\"body, {row}\"\n"))
        .collect();
    let answer = stage.json("POST /import", csv).await;
    assert_eq!(answer["imported"], rows);
    let (status, lines) = stage.ask("GET /export", "").await;
    assert_eq!(status, StatusCode::OK);
    let notes: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(notes.len(), rows);
    assert_eq!(notes[rows - 1]["body"], format!("body, {}", rows - 1));
    stage.end().await;
}

#[tokio::test]
async fn several_instances_migrate_at_once() {
    let (nodes, cluster) = Nodes::start().await.unwrap();
    let mut instances = JoinSet::new();
    for _ in 0..2 {
        let db = db::open(&nodes).await.unwrap();
        instances.spawn(async move {
            notes::migrate(&db).await.unwrap();
            notes::migrate(&db).await.unwrap();
            db.close().await;
        });
    }
    instances.join_all().await;
    let primary = cluster.primary();
    let applied: i64 = primary
        .query_scalar("select count(*) from _sqlx_migrations where success")
        .await
        .unwrap();
    assert_eq!(applied, 2);
    cluster.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_listener_hears_of_new_notes() {
    let stage = Stage::set().await;
    let listener = listen(&stage.db).await.unwrap();
    let heard = stage.heard.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { heard.follow(listener).await });
    stage.create("one", &[]).await;
    stage.create("two", &[]).await;
    let all = async {
        while stage.json("GET /heard", "").await["heard"] != 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all)
        .await
        .unwrap();
    tasks.shutdown().await;
    stage.end().await;
}

#[tokio::test]
async fn one_instance_cleans_up_at_a_time() {
    let stage = Stage::set().await;
    stage.create("stays", &[]).await;
    let empty = json!({ "title": "", "body": "" }).to_string();
    stage.json("POST /notes", empty).await;

    let other = PgConnection::connect(&stage.cluster.primary().url());
    let lock = PgAdvisoryLock::new(cleaning::LOCK);
    let held = lock.acquire(other.await.unwrap()).await.unwrap();
    assert_eq!(
        stage.json("POST /clean-up", "").await["removed"],
        Value::Null
    );
    held.release_now().await.unwrap().close().await.unwrap();
    for removed in [1, 0] {
        assert_eq!(stage.json("POST /clean-up", "").await["removed"], removed);
    }
    assert_eq!(stage.json("GET /count", "").await["notes"], 1);
    stage.end().await;
}

#[cfg(feature = "plain-pool")]
#[tokio::test]
async fn the_pool_asks_the_primary() {
    let stage = Stage::set().await;
    assert_eq!(stage.json("GET /count", "").await["on_replica"], false);
    stage.end().await;
}

#[cfg(not(feature = "plain-pool"))]
mod on_replicas {
    use super::*;

    /// Asks until the replica answers, and checks every answer on the way.
    async fn until_on_replica(stage: &Stage, visitor: &str, notes: i64) {
        let asked = async {
            while !count_on_replica(stage, visitor, notes).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), asked)
            .await
            .expect("the replica answers in the end");
    }

    async fn count_on_replica(stage: &Stage, visitor: &str, notes: i64) -> bool {
        let (_, text) = stage.ask_as(visitor, "GET /count", "").await;
        let count: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(count["notes"], notes, "the answer was {text}");
        count["on_replica"] == true
    }

    #[tokio::test]
    async fn a_visitor_is_served_by_the_replica_and_misses_nothing() {
        let stage = Stage::set().await;
        for notes in 1..=20 {
            stage.create("note", &["tag"]).await;
            until_on_replica(&stage, "ada", notes).await;
        }
        until_on_replica(&stage, "a visitor who wrote nothing", 20).await;
        stage.end().await;
    }

    #[tokio::test]
    async fn while_the_replica_is_late_the_primary_serves() {
        let stage = Stage::set().await;
        stage.create("before", &[]).await;
        until_on_replica(&stage, "ada", 1).await;
        stage.cluster.replica(0).pause_replay().await.unwrap();
        stage.create("while", &[]).await;
        let count = stage.json("GET /count", "").await;
        assert_eq!(count, json!({ "notes": 2, "on_replica": false }));
        stage.cluster.replica(0).resume_replay().await.unwrap();
        until_on_replica(&stage, "ada", 2).await;
        stage.end().await;
    }

    /// `COPY` goes past the router, which only knows that its session took the pool.
    #[tokio::test]
    async fn who_imports_stays_on_the_primary() {
        let stage = Stage::set().await;
        until_on_replica(&stage, "ada", 0).await;
        stage.json("POST /import", "title,body\n").await;
        for _ in 0..20 {
            let count = stage.json("GET /count", "").await;
            assert_eq!(count, json!({ "notes": 1, "on_replica": false }));
        }
        stage.cluster.wait_caught_up().await.unwrap();
        until_on_replica(&stage, "grace", 1).await;
        stage.end().await;
    }

    #[tokio::test]
    async fn who_cleans_up_under_a_lock_is_served_by_the_replica_again() {
        let stage = Stage::set().await;
        let empty = json!({ "title": "", "body": "" }).to_string();
        stage.json("POST /notes", empty).await;
        stage.json("POST /clean-up", "").await;
        until_on_replica(&stage, "ada", 0).await;
        stage.end().await;
    }

    #[tokio::test]
    async fn outside_a_session_the_primary_serves() {
        let stage = Stage::set().await;
        let on_replica: bool = sqlx::query_scalar("select pg_is_in_recovery()")
            .fetch_one(&stage.db)
            .await
            .unwrap();
        assert!(!on_replica);
        stage.end().await;
    }

    #[tokio::test]
    async fn no_replica_is_needed() {
        let (mut nodes, cluster) = Nodes::start().await.unwrap();
        nodes.replicas.clear();
        let db = db::open(&nodes).await.unwrap();
        notes::migrate(&db).await.unwrap();
        let state = App {
            db: db.clone(),
            heard: Heard::default(),
        };
        let request = Request::get("/count").body(Body::empty()).unwrap();
        let answer = app(state).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        db.close().await;
        cluster.shutdown().await.unwrap();
    }
}
