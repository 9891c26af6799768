//! The faults of a history: what happens to Redis, to the processes, and to PostgreSQL and the connections to it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng;

use super::History;
use super::world::World;
use crate::support::proxy::Mode;

impl History {
    /// Injects a fault at random, and ends those that last.
    pub fn do_harm(&self) {
        let World { primary, redis, mutant, .. } = &self.world;
        let replica = self.any_replica();
        let pause = |millis| std::thread::sleep(Duration::from_millis(millis));
        self.faults.fetch_add(1, Ordering::Relaxed);
        match rand::rng().random_range(0..13) {
            0 => redis.restart(false),
            1 => {
                redis.signal(libc::SIGSTOP);
                pause(600);
                redis.signal(libc::SIGCONT);
            }
            2 => {
                replica.proxy.set(Mode::Hole);
                pause(700);
                replica.proxy.set(Mode::Pass);
            }
            3 => {
                replica.proxy.set(Mode::Cut);
                pause(500);
                replica.proxy.set(Mode::Pass);
            }
            4 => redis.remember(),
            5 => redis.restart(true),
            6 => {
                replica.kill();
                pause(100);
                replica.up(&primary.database(), *mutant);
            }
            7 => {
                // Occupies every connection for a while.
                let locked = "BEGIN; LOCK TABLE leads IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.3); COMMIT";
                primary.try_to_run(locked);
            }
            8 => {
                replica.database.set(Mode::Hole);
                pause(700);
                replica.database.set(Mode::Pass);
            }
            9 => {
                replica.database.set(Mode::Cut);
                pause(400);
                replica.database.set(Mode::Pass);
            }
            10 | 11 if primary.can_crash() => {
                primary.crash(rand::rng().random_bool(0.5));
                pause(300);
            }
            _ if primary.can_crash() => {
                let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                             WHERE datname = current_database() AND application_name LIKE 'rapport%'";
                primary.try_to_run(ended);
            }
            _ => redis.restart(false),
        }
    }

    pub fn fail_over(&self) {
        let does = self.world.primary.fail_over();
        self.failovers.fetch_add(u64::from(does), Ordering::Relaxed);
    }
}
