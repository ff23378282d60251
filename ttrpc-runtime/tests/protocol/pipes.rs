//! Both ends of a connection, joined by two pipes that hold little and cut what goes
//! through them anywhere.

use std::time::Duration;

use ttrpc_runtime::Limits;
use ttrpc_runtime::proto::{Endpoint, client, server};

use crate::simulation::{Client, Driver, Random, Server, limits, stream_id};

/// Bytes that a pipe holds.
const CAPACITY: usize = 8 << 10;

pub struct Pair {
    pub client: Client,
    pub server: Server,
    pub random: Random,
    /// How many bytes have gone through the pipes.
    pub carried: usize,
}

impl Pair {
    pub fn new(seed: u64) -> Self {
        Self::with(seed, 1, |_| {})
    }

    /// A pair whose limits are not the usual ones, and whose calls begin with an id.
    pub fn with(seed: u64, first_id: u32, change: impl Fn(&mut Limits)) -> Self {
        let endpoint = client::Connection::with_first_id(limits(&change), stream_id(first_id));
        let client = Driver::new(endpoint);
        let mut server = Driver::new(server::Connection::new(limits(&change)));
        server.now = client.now;
        Self {
            client,
            server,
            random: Random::new(seed),
            carried: 0,
        }
    }

    /// Moves some bytes both ways. Says whether any moved.
    pub fn carry(&mut self) -> bool {
        let there = carry(&mut self.client, &mut self.server, &mut self.random);
        let back = carry(&mut self.server, &mut self.client, &mut self.random);
        self.carried += there + back;
        assert!(self.client.failure.is_none(), "{:?}", self.client.failure);
        assert!(self.server.failure.is_none(), "{:?}", self.server.failure);
        there + back > 0
    }

    /// Moves bytes until none move.
    pub fn settle(&mut self) {
        while self.carry() {}
    }

    /// Lets time pass at both ends.
    pub fn advance(&mut self, time: Duration) {
        self.client.advance(time);
        self.server.advance(time);
    }

    /// How long it is until either end wants to be polled.
    pub fn timeout(&mut self) -> Option<Duration> {
        let timeouts = [self.client.timeout(), self.server.timeout()];
        timeouts.into_iter().flatten().min()
    }

    /// Neither end keeps anything.
    pub fn assert_idle(&mut self) {
        assert_eq!(
            (self.client.link().streams(), self.server.link().streams()),
            (0, 0)
        );
        assert_eq!(
            (self.client.link().backlog(), self.server.link().backlog()),
            (0, 0)
        );
        assert_eq!(self.timeout(), None);
        assert!(self.client.unread.is_empty() && self.server.unread.is_empty());
    }
}

/// Moves bytes one way and lets them be read; says how many.
fn carry<A, B>(from: &mut Driver<A>, to: &mut Driver<B>, random: &mut Random) -> usize
where
    A: Endpoint<Slot = u32>,
    B: Endpoint<Slot = u32>,
{
    let mut piece = || match random.below(8) {
        0 => 1,
        1 | 2 => 1 + random.below(30),
        _ => 1 + random.below(CAPACITY),
    };
    let bytes = from.write(piece().min(CAPACITY - to.unread.len()));
    to.unread.extend_from_slice(&bytes);
    let before = to.unread.len();
    to.read(piece);
    // What was kept from being decoded for want of room goes on.
    from.poll();
    bytes.len() + before - to.unread.len()
}
