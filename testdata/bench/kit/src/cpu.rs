//! The CPU time of a process.

/// Ticks in a second, in what the system tells; it is the same everywhere.
pub const USER_HZ: f64 = 100.0;

/// CPU time that a process has used, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub user: f64,
    pub system: f64,
}

impl Cpu {
    /// Of a process; `self` is this one. Nothing where the system does not tell.
    pub fn of(pid: &str) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The program's name, in parentheses, may have anything in it.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let mut ticks = after.split_whitespace().skip(11);
        let mut next = || -> f64 {
            let ticks = ticks.next().and_then(|ticks| ticks.parse().ok());
            ticks.unwrap_or(0.0) / USER_HZ
        };
        Self {
            user: next(),
            system: next(),
        }
    }

    pub fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
        }
    }
}
