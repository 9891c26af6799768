//! The binary as a process, for tests of per-process settings and of its output.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Client;

/// A running `rapport serve`, killed on drop.
pub struct Program {
    pub address: SocketAddr,
    pub metrics: SocketAddr,
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    /// Starts the service with `settings` as its only environment variables.
    pub fn serve(settings: &[(&str, &str)]) -> Self {
        let mut program = Self::start(&["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"], settings);
        program.until_said("/metrics\n");
        (program.address, program.metrics) =
            (program.after("listening on http://"), program.after("metrics   http://"));
        program
    }

    /// Starts a worker, likewise. Dropping it is `kill -9`.
    pub fn work(settings: &[(&str, &str)]) -> Self {
        let mut program = Self::start(&["worker", "--metrics-bind", "127.0.0.1:0"], settings);
        program.until_said("metrics are at http://");
        program.until("say where", |program| program.said().contains("at http://") && program.said().ends_with('\n'));
        program.metrics = program.after("metrics are at http://");
        program.address = program.metrics;
        program
    }

    fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut child = Self::command(arguments, settings)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let said = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            listen(child.stdout.take().expect("a pipe"), said.clone()),
            listen(child.stderr.take().expect("a pipe"), said.clone()),
        ];
        let nowhere = ([127, 0, 0, 1], 0).into();
        Self { address: nowhere, metrics: nowhere, child, said, readers }
    }

    /// The address in its output after `label`.
    fn after(&self, label: &str) -> SocketAddr {
        let said = self.said();
        let rest = said.split(label).nth(1).unwrap_or_else(|| panic!("no {label} in {said}"));
        rest.split(['\n', '/']).next().and_then(|text| text.parse().ok()).expect("an address")
    }

    /// Any command of the binary.
    pub fn command(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
        // A deliberate bug is in all processes of its test.
        let mutant = std::env::var_os("RAPPORT_MUTANT").map(|name| ("RAPPORT_MUTANT", name));
        command.args(arguments).env_clear().envs(mutant).envs(settings.iter().copied()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end: whether it succeeded, and its output.
    pub fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (bool, String) {
        let output = Self::command(arguments, settings).output().expect("the binary");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    pub fn client(&self, key: &str) -> Client {
        Client::new(self.address, key)
    }

    pub fn is_ready(&self) -> bool {
        self.client("").try_get("/health/readiness").is_some_and(|answer| answer.status == 200)
    }

    pub fn until_ready(&self) {
        self.until("be ready", |program| program.is_ready());
    }

    /// Its output so far, on both streams.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock()).into_owned()
    }

    pub fn until_said(&self, text: &str) {
        self.until(text, |program| program.said().contains(text));
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < Duration::from_secs(20), "it does not {what}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it, like Ctrl-C, and returns its complete output.
    pub fn stop(mut self) -> String {
        // SAFETY: sends a signal to a child that has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
        let _ = self.child.wait();
        self.readers.drain(..).for_each(|reader| reader.join().expect("all that was said"));
        self.said()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end, so that the process never blocks on its output.
fn listen(mut from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut some = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut some) {
            into.lock().extend_from_slice(&some[..read]);
        }
    })
}
