//! When a client begins and ends to measure, and what it tells then.

use std::thread;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::cpu::Cpu;
use crate::report::Report;
use crate::tally::Totals;

/// All that is measured, at one time.
pub struct Clock {
    server: Option<String>,
    at: Instant,
    totals: Totals,
    own: Cpu,
    others: Cpu,
}

impl Clock {
    /// Starts to measure. A client that measures for a time ends by this, in the midst of
    /// its calls; another one by [`finish`](Self::finish).
    pub fn start(args: &Args) -> Self {
        if args.calls.is_none() {
            let args = args.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_secs_f64(args.warmup));
                let begin = Self::now(&args);
                thread::sleep(Duration::from_secs_f64(args.seconds));
                begin.finish();
                std::process::exit(0);
            });
        }
        Self::now(args)
    }

    fn now(args: &Args) -> Self {
        let server = args.server_pid.map(|pid| pid.to_string());
        Self {
            at: Instant::now(),
            totals: Totals::now(),
            own: Cpu::of("self"),
            others: server.as_deref().map(Cpu::of).unwrap_or_default(),
            server,
        }
    }

    /// Tells what has been measured since the beginning.
    pub fn finish(self) {
        let seconds = self.at.elapsed().as_secs_f64();
        let totals = Totals::now().since(&self.totals);
        let own = Cpu::of("self").since(self.own);
        let others = self.server.as_deref().map(Cpu::of).unwrap_or_default();
        let others = others.since(self.others);
        let each = |cpu: f64| cpu * 1e6 / totals.messages.max(1) as f64;
        let report = Report::default()
            .with("messages", totals.messages as f64)
            .with("seconds", seconds)
            .with("rate", totals.messages as f64 / seconds)
            .with("p50_us", totals.percentile(0.5))
            .with("p99_us", totals.percentile(0.99))
            .with("client_user_us", each(own.user))
            .with("client_system_us", each(own.system))
            .with("server_user_us", each(others.user))
            .with("server_system_us", each(others.system));
        println!("{report}");
    }
}
