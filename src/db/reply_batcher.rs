//! Batches replies to the requests of one HTTP thread, so that they are delivered with one wake-up.
//!
//! Waking a task on another thread costs a system call (the thread sleeps in epoll). A batch of single reads answers up
//! to 64 requests at once, so each HTTP thread has one task that receives whole batches and distributes them there,
//! where waking costs nothing.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::base::supervisor::{Supervisor, Task};

/// A reply and the channel that it is sent to.
pub type Reply<T> = (oneshot::Sender<T>, T);

/// Delivers replies to the requests of one thread.
pub struct ReplyBatcher<T>(mpsc::UnboundedSender<Vec<Reply<T>>>);

impl<T> Clone for ReplyBatcher<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: 'static> ReplyBatcher<T> {
    /// Returns the batcher in `slot`, creating it at its first use. Must be called on an HTTP thread.
    pub fn open(slot: &RefCell<Option<Self>>) -> Self {
        slot.borrow_mut().get_or_insert_with(Self::new).clone()
    }

    fn new() -> Self {
        let (sender, batches) = mpsc::unbounded_channel::<Vec<Reply<T>>>();
        // Outside of the task: queued batches outlive a restart.
        let batches = Rc::new(Mutex::new(batches));
        Supervisor::of_process().spawn(Task::named("reply batcher"), move |pulse| {
            let batches = batches.clone();
            async move {
                let mut batches = batches.lock().await;
                while let Some(batch) = batches.recv().await {
                    for (to, answer) in batch {
                        // A cancelled request needs no reply.
                        let _ = to.send(answer);
                    }
                    pulse.succeeded();
                }
                Ok(())
            }
        });
        Self(sender)
    }

    /// Delivers all replies, in one batch for each HTTP thread.
    pub fn deliver(letters: impl Iterator<Item = (Self, Reply<T>)>) {
        let mut batches: Vec<(Self, Vec<Reply<T>>)> = Vec::new();
        for (mailbox, letter) in letters {
            match batches.iter_mut().find(|(known, _)| known.0.same_channel(&mailbox.0)) {
                Some((_, batch)) => batch.push(letter),
                None => batches.push((mailbox, vec![letter])),
            }
        }
        for (mailbox, batch) in batches {
            // Fails if the thread has stopped: its requests have ended with it.
            let _ = mailbox.0.send(batch);
        }
    }
}
