//! Whether a replica's stream of the log flows.
//!
//! While the primary writes nothing, a replica with a cut stream has all there is, and only the stream
//! itself shows that it will fall behind. A receiver that is not there is seen by any role. One that is
//! there and hears nothing is seen by its silence: it asks for a word after half of
//! `wal_receiver_timeout`, and speaks itself every `wal_receiver_status_interval`, which the primary
//! sees. Both take a role that may see them (`pg_monitor`); shorter silences are no sign of anything.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::vitals::{Sender, Vitals};

/// How a replica gets the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// It was not looked at.
    Unknown,
    /// From a server, as far as can be seen.
    Flows,
    /// From an archive, as it is configured.
    Archive,
    /// No receiver runs, or one that does not stream: its status.
    Cut(Option<String>),
    /// Its sender ended the stream with this timeline, and it cannot follow to the primary's.
    Parted(i32),
    /// A receiver runs, and nothing has been heard for longer than it ever should be.
    Silent(Duration),
}

impl Stream {
    /// What a replica says of its stream, of a primary on this timeline.
    pub(crate) fn of(vitals: &Vitals, timeline: Option<u32>) -> Self {
        if !vitals.receiving {
            return match vitals.has_upstream {
                Some(false) => Self::Archive,
                _ => Self::Cut(None),
            };
        }
        match vitals.receiver_status.as_deref() {
            None | Some("streaming") => {}
            Some("waiting") if vitals.cannot_follow(timeline) => {
                return Self::Parted(vitals.received_timeline.unwrap_or_default());
            }
            Some(status) => return Self::Cut(Some(status.to_owned())),
        }
        let limit = vitals.receiver_timeout_seconds / 2.0 + SLACK;
        match vitals.heard_seconds_ago {
            Some(ago) if vitals.receiver_timeout_seconds > 0.0 && ago > limit => silent(ago),
            _ => Self::Flows,
        }
    }

    /// What its sender has last heard of it, `since` the replica was asked. By the clock of the replica
    /// alone: it has dated its words.
    pub(crate) fn heard_by(self, senders: &[Sender], replica: &Vitals, since: f64) -> Self {
        let mut of_replica = senders
            .iter()
            .filter(|sender| sender.name == replica.cluster_name);
        // Of two that go by one name, nothing is known.
        let (Self::Flows, Some(sender), None) = (&self, of_replica.next(), of_replica.next())
        else {
            return self;
        };
        let (Some(replied), interval) = (sender.replied_at, replica.receiver_status_seconds) else {
            return self;
        };
        let ago = replica.clock_seconds - since - replied;
        if interval > 0.0 && ago > interval + SLACK {
            return silent(ago);
        }
        self
    }

    /// Whether the log does not come.
    pub(crate) const fn is_cut(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::Parted(_))
    }

    pub(crate) fn as_str(&self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Flows => Some("streaming"),
            Self::Archive => Some("archive"),
            Self::Cut(_) | Self::Parted(_) => Some("cut"),
            Self::Silent(_) => Some("silent"),
        }
    }
}

fn silent(seconds: f64) -> Stream {
    Duration::try_from_secs_f64(seconds).map_or(Stream::Flows, Stream::Silent)
}

impl Serialize for Stream {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_str().serialize(serializer)
    }
}

/// What a busy server or network may add to a silence, in seconds.
const SLACK: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn replica() -> Vitals {
        Vitals {
            in_recovery: true,
            read_only: true,
            cluster_name: "r1".into(),
            clock_seconds: 1_000.0,
            receiving: true,
            receiver_status: Some("streaming".into()),
            heard_seconds_ago: Some(29.0),
            receiver_timeout_seconds: 60.0,
            receiver_status_seconds: 10.0,
            has_upstream: Some(true),
            ..Vitals::default()
        }
    }

    #[test]
    fn a_receiver_that_is_not_there_or_hears_nothing_is_a_cut_stream() {
        let silence = Stream::Silent(Duration::from_secs(34));
        for (vitals, stream) in [
            (replica(), Stream::Flows),
            (
                Vitals {
                    receiving: false,
                    ..replica()
                },
                Stream::Cut(None),
            ),
            (
                Vitals {
                    receiving: false,
                    has_upstream: None,
                    ..replica()
                },
                Stream::Cut(None),
            ),
            (
                Vitals {
                    receiving: false,
                    has_upstream: Some(false),
                    ..replica()
                },
                Stream::Archive,
            ),
            (
                Vitals {
                    receiver_status: Some("waiting".into()),
                    ..replica()
                },
                Stream::Cut(Some("waiting".into())),
            ),
            (
                Vitals {
                    receiver_status: None,
                    heard_seconds_ago: None,
                    ..replica()
                },
                Stream::Flows,
            ),
            (
                Vitals {
                    heard_seconds_ago: Some(34.0),
                    ..replica()
                },
                silence,
            ),
            (
                Vitals {
                    heard_seconds_ago: Some(34.0),
                    receiver_timeout_seconds: 0.0,
                    ..replica()
                },
                Stream::Flows,
            ),
        ] {
            assert_eq!(Stream::of(&vitals, Some(1)), stream, "{vitals:?}");
        }
    }

    #[test]
    fn a_replica_whose_timeline_ended_before_what_it_replayed_has_parted() {
        let ended = || Vitals {
            receiver_status: Some("waiting".into()),
            received_timeline: Some(1),
            target_timeline: "latest".into(),
            has_replayed_all: Some(true),
            replay_pause: Some("not paused".into()),
            ..replica()
        };
        let cut = Stream::Cut(Some("waiting".into()));
        assert_eq!(Stream::of(&ended(), Some(2)), Stream::Parted(1));
        assert_eq!(Stream::of(&ended(), Some(1)), cut, "it waits for more");
        assert_eq!(Stream::of(&ended(), None), cut);
        for may_still_follow in [
            Vitals {
                has_replayed_all: Some(false),
                ..ended()
            },
            Vitals {
                replay_pause: Some("paused".into()),
                ..ended()
            },
            Vitals {
                target_timeline: "current".into(),
                ..ended()
            },
        ] {
            let stream = Stream::of(&may_still_follow, Some(2));
            assert_eq!(stream, cut, "{may_still_follow:?}");
        }
    }

    #[test]
    fn what_the_sender_has_not_heard_for_long_is_silent_by_the_clock_of_the_replica() {
        let sender = |name: &str, replied_at| Sender {
            name: name.into(),
            replied_at,
        };
        let silence = Stream::Silent(Duration::from_secs(14));
        for (senders, since, stream) in [
            (vec![sender("r1", Some(986.0))], 0.0, silence),
            (vec![sender("r1", Some(986.0))], 4.0, Stream::Flows),
            (vec![sender("r1", Some(990.0))], 0.0, Stream::Flows),
            (vec![sender("r2", Some(900.0))], 0.0, Stream::Flows),
            (vec![sender("r1", None)], 0.0, Stream::Flows),
            (
                vec![sender("r1", Some(900.0)), sender("r1", Some(999.0))],
                0.0,
                Stream::Flows,
            ),
        ] {
            let heard = Stream::Flows.heard_by(&senders, &replica(), since);
            assert_eq!(heard, stream, "{senders:?}");
        }
    }
}
