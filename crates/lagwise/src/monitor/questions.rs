//! The questions that are under way, all of them within one task.
//!
//! Who asks each node in a task of its own pays for a wake-up and a cold processor with each answer.
//! Here the answers wake one task, and what is there together is taken together. Each question is
//! looked at only when it was woken, so that one that hangs costs nobody anything, and all share
//! one timer: that of whoever waits for them. What is asked, and what an answer means, is not decided
//! here.
//!
//! `FuturesUnordered` would do the same, but it wakes its own task once more whenever it has polled
//! all that it holds, as after each question that is sent; and for a task that wakes itself the runtime
//! wakes another thread.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lagwise_core::Instant;
use tokio::sync::oneshot;

use super::bell::Bell;

/// Questions, each with what comes of it and the instant by which that is to come.
pub(super) struct Questions<T> {
    places: Vec<Place<T>>,
    /// The places of no question.
    free: Vec<usize>,
    /// Those under way in the order of their deadlines. Who is dropped ends a question.
    due: BTreeMap<(Instant, usize), oneshot::Sender<()>>,
    bell: Arc<Bell>,
    /// Those that are being looked at.
    woken: Vec<usize>,
}

struct Place<T> {
    waker: Waker,
    question: Option<Question<T>>,
}

struct Question<T> {
    until: Instant,
    answer: Pin<Box<dyn Future<Output = T> + Send>>,
}

/// Ends a question when its time is up.
pub(super) struct Limit(oneshot::Receiver<()>);

impl Limit {
    /// What comes of a future in time; none once the time is up.
    pub(super) async fn hold<F: Future>(self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = future => Some(done),
            _ = self.0 => None,
        }
    }
}

impl<T> Questions<T> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            due: BTreeMap::new(),
            bell: Bell::new(),
            woken: Vec::new(),
        }
    }

    /// Asks. The question is sent when the answers are waited for next, together with all others that
    /// have come by then; it is up to it to end when its limit does.
    pub(super) fn ask<F>(&mut self, until: Instant, question: impl FnOnce(Limit) -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (lasts, ended) = oneshot::channel();
        let answer = Box::pin(question(Limit(ended)));
        let place = self.free.pop().unwrap_or_else(|| {
            let waker = self.bell.cord(self.places.len());
            let question = None;
            self.places.push(Place { waker, question });
            self.places.len() - 1
        });
        self.places[place].question = Some(Question { until, answer });
        self.due.insert((until, place), lasts);
        self.bell.note(place);
    }

    /// By when the first of them has to have its answer.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((until, _), _)| *until)
    }

    /// Ends those whose time is up. What comes of them comes with the next answers.
    pub(super) fn end_overdue(&mut self, now: Instant) {
        while let Some(first) = self.due.first_entry()
            && first.key().0 <= now
        {
            drop(first.remove());
        }
    }

    /// Waits for answers, and takes all that are there. A dropped call has no effect.
    pub(super) async fn answers(&mut self, into: &mut Vec<T>) {
        poll_fn(|context| {
            self.look(context.waker(), into);
            if into.is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    fn look(&mut self, task: &Waker, into: &mut Vec<T>) {
        let mut woken = std::mem::take(&mut self.woken);
        self.bell.take(task, &mut woken);
        for number in woken.drain(..) {
            let place = &mut self.places[number];
            // One that is not there was woken twice.
            let Some(question) = &mut place.question else {
                continue;
            };
            let mut context = Context::from_waker(&place.waker);
            if let Poll::Ready(answer) = question.answer.as_mut().poll(&mut context) {
                self.due.remove(&(question.until, number));
                place.question = None;
                self.free.push(number);
                into.push(answer);
            }
        }
        self.woken = woken;
    }
}

impl<T> fmt::Debug for Questions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions")
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use tokio::time::{Instant as Moment, sleep, timeout};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(0).after(MS * u32::try_from(millis).unwrap())
    }

    async fn after<T>(length: Duration, answer: T) -> T {
        sleep(length).await;
        answer
    }

    /// Hangs until its limit.
    async fn named(name: u64, limit: Limit) -> (u64, Option<()>) {
        (name, limit.hold(pending()).await)
    }

    async fn answer(told: oneshot::Receiver<usize>) -> usize {
        told.await.unwrap()
    }

    /// What comes next.
    async fn next<T: Ord + 'static>(questions: &mut Questions<T>) -> Vec<T> {
        let mut come = Vec::new();
        let answers = questions.answers(&mut come);
        timeout(MS * 1000, answers).await.expect("an answer");
        come.sort();
        come
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_hangs_delays_no_other() {
        let mut questions = Questions::new();
        questions.ask(at(500), |_| pending());
        for (name, took) in [("late", 7), ("soon", 3)] {
            questions.ask(at(500), |_| after(MS * took, name));
        }
        let began = sleep(Duration::ZERO).deadline();
        let passed = |now: Moment| now - began;
        assert_eq!(next(&mut questions).await, ["soon"]);
        assert!(passed(sleep(Duration::ZERO).deadline()) < MS * 5);
        assert_eq!(next(&mut questions).await, ["late"]);
        assert!(passed(sleep(Duration::ZERO).deadline()) < MS * 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_ends_at_its_deadline_and_at_no_others() {
        let mut questions = Questions::new();
        for until in [500, 300, 400] {
            questions.ask(at(until), |limit| named(until, limit));
        }
        for until in [300, 400, 500] {
            assert_eq!(questions.next_deadline(), Some(at(until)));
            questions.end_overdue(at(until - 1));
            let early = timeout(MS, next(&mut questions)).await;
            assert!(early.is_err(), "{early:?} before its time was up");
            questions.end_overdue(at(until));
            assert_eq!(next(&mut questions).await, [(until, None)]);
        }
        assert_eq!(questions.next_deadline(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_leaves_no_deadline() {
        let mut questions = Questions::new();
        questions.ask(at(500), |limit| limit.hold(ready(7)));
        assert_eq!(next(&mut questions).await, [Some(7)]);
        assert_eq!(questions.next_deadline(), None);
        let nothing = timeout(MS, next(&mut questions)).await;
        assert!(nothing.is_err(), "nobody was asked: {nothing:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_there_together_come_together() {
        let mut questions = Questions::new();
        let (tell, told): (Vec<_>, Vec<_>) = (0..40).map(|_| oneshot::channel()).unzip();
        for told in told {
            questions.ask(at(500), |_| answer(told));
        }
        let early = timeout(MS, next(&mut questions)).await;
        assert!(early.is_err(), "{early:?} before anybody answered");
        for (number, tell) in tell.into_iter().enumerate() {
            tell.send(number).unwrap();
        }
        let all: Vec<_> = (0..40).collect();
        assert_eq!(next(&mut questions).await, all);
    }
}
