//! Answers for many requests of one HTTP thread, delivered with one wake-up.
//!
//! Waking a task of another thread costs a system call each time (the thread sleeps in epoll). A round of single reads
//! answers up to 64 requests at once, so each HTTP thread has one task that takes whole batches and hands them out
//! there, where waking costs nothing.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::jobs::{Supervisor, Task};

/// An answer with whom it is for.
pub type Letter<T> = (oneshot::Sender<T>, T);

/// Where answers for requests of one thread go.
pub struct Mailbox<T>(mpsc::UnboundedSender<Vec<Letter<T>>>);

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: 'static> Mailbox<T> {
    /// The mailbox kept in `slot`, opened at its first use. Must be called on an HTTP thread.
    pub fn open(slot: &RefCell<Option<Self>>) -> Self {
        slot.borrow_mut().get_or_insert_with(Self::new).clone()
    }

    fn new() -> Self {
        let (sender, batches) = mpsc::unbounded_channel::<Vec<Letter<T>>>();
        // Outside of the task: what waits outlives a restart.
        let batches = Rc::new(Mutex::new(batches));
        Supervisor::of_process().spawn(Task::named("mailboxes"), move |pulse| {
            let batches = batches.clone();
            async move {
                let mut batches = batches.lock().await;
                while let Some(batch) = batches.recv().await {
                    for (to, answer) in batch {
                        // Who has gone meanwhile does not matter.
                        let _ = to.send(answer);
                    }
                    pulse.succeeded();
                }
                Ok(())
            }
        });
        Self(sender)
    }

    /// Delivers `letters`, one batch for each mailbox.
    pub fn deliver(letters: impl Iterator<Item = (Self, Letter<T>)>) {
        let mut batches: Vec<(Self, Vec<Letter<T>>)> = Vec::new();
        for (mailbox, letter) in letters {
            match batches.iter_mut().find(|(known, _)| known.0.same_channel(&mailbox.0)) {
                Some((_, batch)) => batch.push(letter),
                None => batches.push((mailbox, vec![letter])),
            }
        }
        for (mailbox, batch) in batches {
            // The thread has stopped: its requests are gone with it.
            let _ = mailbox.0.send(batch);
        }
    }
}
