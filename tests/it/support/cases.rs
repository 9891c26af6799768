//! Property tests with random cases, run sequentially against one service.

use std::fmt::Debug;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// Calls `holds` with `count` random cases. The first that panics is printed and ends the test; it is not shrunk,
/// because each attempt would be a series of requests.
pub fn for_cases<S: Strategy>(count: usize, strategy: S, mut holds: impl FnMut(S::Value))
where
    S::Value: Debug,
{
    let mut runner = TestRunner::default();
    for _ in 0..count {
        let case = strategy.new_tree(&mut runner).expect("a case").current();
        let shown = Shown(format!("{case:?}"));
        holds(case);
        drop(shown);
    }
}

/// Prints the case when the test fails in it.
struct Shown(String);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case: {}", self.0);
        }
    }
}
