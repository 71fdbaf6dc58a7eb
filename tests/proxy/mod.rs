//! A bad network, in user space: it stands between clients and a server and passes bytes on, or does not.
//!
//! It can cut what is under way, by an orderly end or by a reset; swallow one direction or both; keep it back, as a network
//! does that drops packets; delay; refuse; and cut each connection by itself after a random number of bytes, wherever in a frame that is. It knows nothing of frames. For
//! any test that declares it as a module with a path; it draws from a seed and never from the clock.

use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{broadcast, watch},
    task::JoinHandle,
};

/// What becomes of bytes, in connections that are there and in those to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They are passed on.
    Open,
    /// They are swallowed; both ends stay open and hear nothing.
    Silent,
    /// Those to the server are swallowed.
    DeafServer,
    /// Those to the client are swallowed.
    DeafClient,
    /// Those to the server are kept back until the way is another one, and no connection gets through. So it looks from
    /// the ends of a TCP connection when packets are dropped: what was lost is sent again.
    LateToServer,
    /// Those to the client are.
    LateToClient,
    /// Connections are closed as soon as they are made.
    Refusing,
}

impl Way {
    /// Does a connection take both directions, as a handshake does?
    fn is_late(self) -> bool {
        matches!(self, Way::LateToServer | Way::LateToClient)
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Each end is told that there is nothing more, and then everything is closed.
    Fin,
    /// Each end is told that what it sent may not have arrived.
    Reset,
    /// The sockets are closed, with whatever is unread in them.
    Killed,
}

/// See the front page.
pub(crate) struct Proxy {
    address: String,
    inside: Arc<Inside>,
    accepts: JoinHandle<()>,
}

struct Inside {
    way: watch::Sender<Way>,
    delay: watch::Sender<Duration>,
    cuts: broadcast::Sender<Cut>,
    /// Where the server is.
    server: Mutex<String>,
    /// How many connections were made, and cut.
    made: AtomicU64,
    cut: AtomicU64,
    /// After how many bytes connections end by themselves.
    lives: Mutex<Option<(SmallRng, Range<u64>)>>,
}

impl Proxy {
    /// A proxy to this server that passes everything on.
    pub(crate) async fn to(server: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let inside = Arc::new(Inside {
            way: watch::Sender::new(Way::Open),
            delay: watch::Sender::new(Duration::ZERO),
            cuts: broadcast::Sender::new(16),
            server: Mutex::new(server.into()),
            made: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            lives: Mutex::new(None),
        });
        let shared = inside.clone();
        let accepts = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(shared.clone().serve(near));
            }
        });
        Proxy { address, inside, accepts }
    }

    /// Where clients find it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The server is somewhere else from now on, for connections to come.
    pub(crate) fn lead_to(&self, server: &str) {
        *self.inside.server.lock().expect("no panic under it") = server.into();
    }

    pub(crate) fn set(&self, way: Way) {
        self.inside.way.send_replace(way);
    }

    /// Every piece of bytes takes so much longer, each way.
    pub(crate) fn delay(&self, by: Duration) {
        self.inside.delay.send_replace(by);
    }

    /// Cuts all connections there are.
    pub(crate) fn cut(&self, how: Cut) {
        // Nobody listens if there are none.
        let _ = self.inside.cuts.send(how);
    }

    /// From now on each connection is cut after a random number of bytes out of this range, counted in a random
    /// direction, in a random way; none: no more.
    pub(crate) fn cut_each_after(&self, seed: u64, bytes: Option<Range<u64>>) {
        let lives = bytes.map(|bytes| (SmallRng::seed_from_u64(seed), bytes));
        *self.inside.lives.lock().expect("no panic under it") = lives;
    }

    /// How many connections have been made so far, refused ones included.
    pub(crate) fn made(&self) -> u64 {
        self.inside.made.load(Ordering::Relaxed)
    }

    /// How many connections have been cut so far.
    pub(crate) fn cuts(&self) -> u64 {
        self.inside.cut.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepts.abort();
        self.cut(Cut::Killed);
    }
}

/// How many bytes a connection passes on, each way, and how it ends then.
struct Life {
    to_server: u64,
    to_client: u64,
    end: Cut,
}

impl Inside {
    fn life(&self) -> Life {
        let mut lives = self.lives.lock().expect("no panic under it");
        let Some((random, bytes)) = &mut *lives else {
            return Life { to_server: u64::MAX, to_client: u64::MAX, end: Cut::Fin };
        };
        let after = random.random_range(bytes.clone());
        let end = [Cut::Fin, Cut::Reset, Cut::Killed][random.random_range(0..3)];
        match random.random_bool(0.5) {
            true => Life { to_server: after, to_client: u64::MAX, end },
            false => Life { to_server: u64::MAX, to_client: after, end },
        }
    }

    async fn serve(self: Arc<Self>, near: TcpStream) {
        let mut cuts = self.cuts.subscribe();
        self.made.fetch_add(1, Ordering::Relaxed);
        if *self.way.borrow() == Way::Refusing || !self.until(|way| !way.is_late()).await {
            return;
        }
        let server = self.server.lock().expect("no panic under it").clone();
        let Ok(far) = TcpStream::connect(server).await else { return };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let life = self.life();
        let (mut near, mut far) = (near.into_split(), far.into_split());
        let end = {
            let (deaf, late) = ([Way::DeafServer, Way::DeafClient], [Way::LateToServer, Way::LateToClient]);
            let there = self.pass(&mut near.0, &mut far.1, (deaf[0], late[0]), life.to_server);
            let back = self.pass(&mut far.0, &mut near.1, (deaf[1], late[1]), life.to_client);
            tokio::select! {
                passed = there => passed.then_some(life.end),
                passed = back => passed.then_some(life.end),
                cut = cuts.recv() => cut.ok(),
            }
        };
        let Some(end) = end else { return };
        self.cut.fetch_add(1, Ordering::Relaxed);
        match end {
            Cut::Fin => _ = (near.1.shutdown().await, far.1.shutdown().await),
            Cut::Reset => {
                let reset = |half: &OwnedWriteHalf| {
                    socket2::SockRef::from(half.as_ref()).set_linger(Some(Duration::ZERO))
                };
                let _ = (reset(&near.1), reset(&far.1));
            }
            Cut::Killed => {}
        }
    }

    /// Waits until the way is such a one; false if it never will be.
    async fn until(&self, is_so: impl Fn(Way) -> bool) -> bool {
        self.way.subscribe().wait_for(|way| is_so(*way)).await.is_ok()
    }

    /// Passes bytes on until the connection's life is over (true) or one end is closed.
    async fn pass(
        &self,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        (deaf, late): (Way, Way),
        mut left: u64,
    ) -> bool {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let read = from.read(&mut bytes).await;
            // The end of a connection is late as well.
            if !self.until(|way| way != late).await {
                return false;
            }
            let Ok(len @ 1..) = read else { return false };
            let delay = *self.delay.borrow();
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let way = *self.way.borrow();
            if way == Way::Silent || way == deaf {
                continue;
            }
            let passed = len.min(usize::try_from(left).unwrap_or(usize::MAX));
            if to.write_all(&bytes[..passed]).await.is_err() {
                return false;
            }
            left -= passed as u64;
            if left == 0 {
                return true;
            }
        }
    }
}
