//! Buffers log lines, and writes them on a thread of its own.
//!
//! A line costs its request a lock and a copy; the thread writes the buffer fifty times a second. (One write and one
//! wake-up per line, as `tracing-appender` does it, took a seventh of the service's processor time at full load; see
//! docs/PERFORMANCE.md.) When the output is read too slowly, lines are dropped, counted and reported, so that a stuck
//! terminal never stops the service.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use crate::base::supervisor::{Pulse, Supervisor, Task};

const PERIOD: Duration = Duration::from_millis(20);
/// Capacity of the buffer in bytes.
const CAPACITY: usize = 4 * 1024 * 1024;

#[derive(Default)]
struct Shared {
    waiting: Mutex<Vec<u8>>,
    dropped: AtomicU64,
    stop: AtomicBool,
}

/// A handle that events are written to.
#[derive(Clone)]
pub struct LogWriter(Arc<Shared>);

/// Writes the rest of the buffer when it is dropped.
pub struct Guard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the thread that writes to `sink`.
pub fn start(sink: impl Write + Send + 'static) -> io::Result<(LogWriter, Guard)> {
    let shared = Arc::new(Shared::default());
    let (mine, mut sink) = (shared.clone(), sink);
    let thread = Supervisor::of_process()
        .spawn_thread(Task::named("log writer"), "logs", move |pulse| {
            drain(&mine, &mut sink, pulse);
            Ok(())
        })
        .map_err(io::Error::other)?;
    Ok((LogWriter(shared.clone()), Guard { shared, thread: Some(thread) }))
}

fn drain(shared: &Shared, sink: &mut impl Write, pulse: &Pulse) {
    let mut lines = Vec::new();
    loop {
        // Read first: what was written before the stop is still taken below.
        let stop = shared.stop.load(Ordering::Acquire);
        std::mem::swap(&mut *shared.waiting.lock(), &mut lines);
        let dropped = shared.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = writeln!(lines, "{{\"level\":\"WARN\",\"message\":\"{dropped} log lines were dropped\"}}");
        }
        // A reader that has gone away is no reason to stop serving.
        let _ = sink.write_all(&lines).and_then(|()| sink.flush());
        lines.clear();
        pulse.succeeded();
        if stop {
            return;
        }
        std::thread::park_timeout(PERIOD);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.waiting.lock();
        if waiting.len() + line.len() > CAPACITY {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            waiting.extend_from_slice(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for LogWriter {
    type Writer = &'w LogWriter;

    fn make_writer(&'w self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Sink(mpsc::Sender<Vec<u8>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn drop_guard_writes_all_buffered_lines() {
        let (send, receive) = mpsc::channel();
        let (writer, guard) = start(Sink(send)).unwrap();
        for number in 0..1000 {
            writeln!(&writer, "{number}").unwrap();
        }
        drop(guard);
        let text = String::from_utf8(receive.iter().flatten().collect()).unwrap();
        assert_eq!(text.lines().count(), 1000);
        assert_eq!(text.lines().last(), Some("999"));
    }

    #[test]
    fn full_log_buffer_drops_lines_and_reports_it() {
        let (send, receive) = mpsc::channel();
        let (writer, guard) = start(Sink(send)).unwrap();
        let line = vec![b'x'; CAPACITY];
        {
            // While this thread holds the lock, nothing is drained.
            let mut waiting = writer.0.waiting.lock();
            waiting.extend_from_slice(&line);
        }
        // Between here and the next period the buffer may be emptied; so fill it again until something is dropped.
        while writer.0.dropped.load(Ordering::Relaxed) == 0 {
            let _ = (&writer).write(&line);
        }
        drop(guard);
        let text = String::from_utf8(receive.iter().flatten().collect()).unwrap();
        assert!(text.contains("log lines were dropped"));
    }
}
