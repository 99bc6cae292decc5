//! What a caller may send in place of a token, and what that leads to: what no token leads to.

use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_notes::proto::GetRequest;
use tonic_notes::proto::notes_client::NotesClient;

use crate::stage::{Outcome, Plain, Stage, put, same};

/// Reads the note with these values of a key, and says its version, or 0.
async fn read_with(client: &mut Plain, key: &'static str, values: &[&str]) -> Outcome<i64> {
    let mut request = Request::new(GetRequest { id: 1 });
    for value in values {
        if key.ends_with("-bin") {
            let value = MetadataValue::from_bytes(value.as_bytes());
            request.metadata_mut().append_bin(key, value);
        } else {
            request.metadata_mut().append(key, value.parse()?);
        }
    }
    match client.get(request).await {
        Ok(note) => Ok(note.into_inner().version),
        Err(status) if status.code() == Code::NotFound => Ok(0),
        Err(status) => Err(status.into()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_is_no_good_is_as_if_there_were_none() -> Outcome {
    let mut stage = Stage::start(1).await?;
    let mut client = NotesClient::new(stage.instance().await?);
    stage.cluster.replica(0).freeze_replay()?;
    let written = client.put(put(1)).await?;
    let token = written.metadata().get("x-lagwise").ok_or("a token")?;
    let good = token.to_str()?;
    same(
        "a good one",
        read_with(&mut client, "x-lagwise", &[good]).await?,
        1,
    )?;

    let flipped = good.replacen(|letter: char| letter != 'A', "A", 1);
    let long = format!("{good}{}", "A".repeat(6000));
    for bad in [
        &[][..],
        &[good, good],
        &[good, "x"],
        &[&flipped],
        &[&good[..20]],
        &[&long],
        &["a, b"],
        &[""],
    ] {
        let version = read_with(&mut client, "x-lagwise", bad).await?;
        same(&format!("{bad:?}"), version, 0)?;
    }
    let version = read_with(&mut client, "x-lagwise-bin", &[good]).await?;
    same("another key", version, 0)
}
