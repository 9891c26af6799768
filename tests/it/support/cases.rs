//! Properties over random cases, one after the other against one service.

use std::fmt::Debug;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// Calls `holds` with `count` random cases. The first that panics is shown and ends the test; it is not shrunk, because
/// each attempt would be a walk of its own through the service.
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

/// Says which case it was when the test fails in it.
struct Shown(String);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case: {}", self.0);
        }
    }
}
