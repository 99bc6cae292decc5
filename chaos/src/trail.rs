//! The database's own testimony: a trigger writes down every write of a note, in its transaction.
//!
//! So the last primary can say of each write whether it is a part of its history. A note's final
//! version could not: after a failover, the same version may have been written again.

use std::collections::BTreeSet;

use lagwise_testkit::Node;
use sqlx::Row as _;

use crate::Result;
use crate::history::Mark;

const WITNESS: &str = "
    create table chaos_trail (key text not null, version bigint not null, body text not null);
    create function chaos_witness() returns trigger language plpgsql as $$
        begin
            insert into chaos_trail values (new.id::text, new.version, new.body);
            return null;
        end $$;
    create trigger chaos_witness after insert or update on notes
        for each row execute function chaos_witness();";

/// Has the primary write down the notes' writes from now on.
pub async fn lay(primary: &Node) -> Result {
    primary.execute(WITNESS).await?;
    Ok(())
}

/// All writes in the history of this node.
pub async fn follow(primary: &Node) -> Result<BTreeSet<Mark>> {
    let mut connection = primary.connect().await?;
    let query = sqlx::query("select key, version, body from chaos_trail");
    let rows = query.fetch_all(&mut connection).await?;
    let mut trail = BTreeSet::new();
    for row in rows {
        let key = row.try_get::<String, _>(0)?.parse()?;
        let version = row.try_get::<i64, _>(1)?.try_into()?;
        trail.insert((key, version, row.try_get(2)?));
    }
    Ok(trail)
}
