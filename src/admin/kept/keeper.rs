//! The keeper's process: it leaves the family of whoever opened the session, and answers until the session ends.
//!
//! It holds nothing of its opener's but the words it was given: no terminal, no open file, no working directory. One
//! connection is one question. What a connection asked for is withdrawn when the connection ends.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        signal::Signal,
        stat::{Mode, umask},
    },
    unistd::{self, Uid},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufRead, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

use super::{
    line::{self, About, Answer, Ask},
    locks::Locks,
    parent::Parent,
};
use crate::{
    admin::{
        args::Reach,
        ask,
        duration::{ms, show_ms},
        exit::{self, Failure},
    },
    client::{self, Session},
};

/// So many processes may ask or wait at a time.
const CONNECTIONS_MAX: usize = 1_024;

/// How long whoever connects may take to say what it wants.
const FIRST_LINE_WITHIN: Duration = Duration::from_secs(5);

/// The longest path that a socket can have, without the byte that ends it.
const SOCKET_PATH_LEN_MAX: usize = 107;

/// What a keeper is told when it is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Opening {
    pub(super) servers: Vec<String>,
    pub(super) timeout_ms: u64,
    pub(super) name: String,
    pub(super) purpose: String,
    pub(super) ttl_ms: u64,
    /// The process with which the session ends.
    pub(super) parent: Option<i32>,
    /// What that process is sent when a lock is lost.
    pub(super) on_lost: Option<i32>,
}

/// Becomes a keeper: reads what it is told from standard input, and says on standard output how it went.
pub(in crate::admin) fn keep() -> ExitCode {
    // It is a courtesy to those who look at the table of processes.
    let _ = prctl::set_name(c"session-keeper");
    let opened = leave().and_then(|()| read_opening());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match (opened, runtime) {
        (Ok(opening), Ok(runtime)) => runtime.block_on(keep_as(&opening)),
        (Err(error), _) | (_, Err(error)) => {
            tell(Answer::failed(Failure::system(error.to_string())));
            exit::SOFTWARE.into()
        }
    }
}

/// Leaves session, terminal, folder and files of whoever started this.
fn leave() -> io::Result<()> {
    unistd::setsid()?;
    umask(Mode::from_bits_truncate(0o077));
    env::set_current_dir("/")?;
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // One of them was that of the listing itself.
        let _ = unistd::close(descriptor);
    }
    Ok(())
}

fn read_opening() -> io::Result<Opening> {
    let mut told = String::new();
    io::stdin().lock().read_to_string(&mut told)?;
    serde_json::from_str(&told).map_err(io::Error::other)
}

/// Tells the opener, who listens for one line.
fn tell(answer: Answer) {
    if let Ok(line) = line::to_line(answer) {
        let mut out = io::stdout().lock();
        // If it has gone, so has the shell, or will be.
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

async fn keep_as(opening: &Opening) -> ExitCode {
    // From here on a signal ends the session in order, and leaves no socket behind.
    let ended = ended_by_signal();
    match Keeper::open(opening).await {
        Ok((keeper, listener)) => {
            tell(Answer::Session(keeper.about()));
            let keeper = Arc::new(keeper);
            keeper.clone().serve(listener, ended).await;
            keeper.end().await;
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let exit = failure.exit;
            tell(Answer::failed(failure));
            exit.into()
        }
    }
}

/// A folder that nobody else can look into, and the socket's path in it; both go with this.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn make() -> io::Result<Place> {
        let name = format!("enq-{}-{:x}", std::process::id(), client::now().0);
        let fits =
            |base: &PathBuf| base.as_os_str().len() + name.len() + "/x/sock".len() <= SOCKET_PATH_LEN_MAX;
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|base| is_private(base));
        let bases = [runtime, Some(env::temp_dir()), Some(PathBuf::from("/tmp"))];
        let mut last = io::Error::other("there is no place for a socket");
        for base in bases.into_iter().flatten().filter(fits) {
            let folder = base.join(&name);
            // It fails if anything has this name already: what is made here is nobody else's.
            match fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Place { folder }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Somebody may have tidied up before.
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.folder);
    }
}

fn is_private(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|found| {
        found.is_dir() && found.uid() == Uid::effective().as_raw() && found.mode() & 0o077 == 0
    })
}

struct Keeper {
    locks: Locks,
    place: Place,
    parent: Option<Parent>,
    on_lost: Option<Signal>,
    timeout: Duration,
    /// The session is being closed: that its locks end is no loss.
    is_closing: AtomicBool,
    /// Whoever closed it has heard that it is closed.
    closed: CancellationToken,
}

impl Keeper {
    async fn open(opening: &Opening) -> Result<(Keeper, UnixListener), Failure> {
        let gone =
            || Failure::usage("the process that the session is to end with is not there", "--parent $$");
        let parent = opening.parent.map(|pid| Parent::of(pid).ok_or_else(gone)).transpose()?;
        let timeout = Duration::from_millis(opening.timeout_ms);
        let reach =
            Reach { servers: opening.servers.clone(), space: "default".into(), timeout, is_named: true };
        let connecting = Session::builder(&opening.name)
            .purpose(&opening.purpose)
            .ttl(Duration::from_millis(opening.ttl_ms))
            .connect_within(timeout)
            .connect(&reach.servers);
        let session =
            ask::connected(&reach, connecting).await.map_err(|failure| match failure.code.as_str() {
                "LIMIT" => failure.about(format!("a lease of {}", show_ms(opening.ttl_ms))),
                _ => failure,
            })?;
        let system = |error: io::Error| Failure::system(format!("the session's socket: {error}"));
        let place = Place::make().map_err(system)?;
        let listener = UnixListener::bind(place.socket()).map_err(system)?;
        fs::set_permissions(place.socket(), fs::Permissions::from_mode(0o600)).map_err(system)?;
        let keeper = Keeper {
            locks: Locks::new(session, reach),
            place,
            parent,
            on_lost: opening.on_lost.and_then(|number| Signal::try_from(number).ok()),
            timeout,
            is_closing: AtomicBool::new(false),
            closed: CancellationToken::new(),
        };
        Ok((keeper, listener))
    }

    fn about(&self) -> About {
        let session = &self.locks.session;
        About {
            id: session.id().to_string(),
            server: session.address().into(),
            ttl_ms: ms(session.ttl()),
            pid: std::process::id(),
            socket: self.place.socket().to_string_lossy().into_owned(),
        }
    }

    /// Answers until the session is to end.
    async fn serve(self: Arc<Keeper>, listener: UnixListener, ended: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let parent_end = async {
            match &self.parent {
                Some(parent) => parent.end().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(parent_end);
        tokio::pin!(ended);
        let mut is_lost = false;
        loop {
            tokio::select! {
                biased;
                () = self.closed.cancelled() => return,
                () = &mut parent_end => return,
                () = &mut ended => return self.sound_alarm(&mut is_lost),
                () = self.locks.alarm.notified() => self.sound_alarm(&mut is_lost),
                _ = self.locks.session.lost(), if !is_lost => self.sound_alarm(&mut is_lost),
                accepted = listener.accept() => match accepted {
                    // More than there is room for are cut off, and their verbs say so.
                    Ok((stream, _)) => if let Ok(place) = room.clone().try_acquire_owned() {
                        let keeper = self.clone();
                        tokio::spawn(async move {
                            // Whoever goes in the middle has no answer to get.
                            let _ = keeper.converse(stream).await;
                            drop(place);
                        });
                    },
                    // Out of descriptors, say: the next moment is another one.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }
    }

    /// Tells the parent that a lock is lost, once, if it wants to hear it.
    fn sound_alarm(&self, is_lost: &mut bool) {
        // Also when it is being closed: what is ready is not to be asked again and again.
        if std::mem::replace(is_lost, true) || self.is_closing.load(Ordering::Relaxed) {
            return;
        }
        if let (Some(parent), Some(signal)) = (&self.parent, self.on_lost) {
            parent.signal(signal);
        }
    }

    /// One question of one verb.
    async fn converse(&self, stream: UnixStream) -> io::Result<()> {
        if stream.peer_cred()?.uid() != Uid::effective().as_raw() {
            return Ok(());
        }
        let (input, mut out) = stream.into_split();
        let mut input = BufReader::new(input);
        let first = tokio::time::timeout(FIRST_LINE_WITHIN, line::next(&mut input)).await;
        let Ok(Some(first)) = first.map_err(io::Error::other)? else { return Ok(()) };
        let ask: Ask = match line::of_line(&first) {
            Ok(ask) => ask,
            Err(failure) => return line::say(&mut out, Answer::failed(failure)).await,
        };
        let answer = match ask {
            Ask::Lock { .. } => return self.lock(ask, &mut input, &mut out).await,
            Ask::Convert { .. } => {
                let cancel = CancellationToken::new();
                let converting = self.locks.convert(ask, cancel.clone());
                let granted = unless_gone(converting, cancel, &mut input).await;
                granted.map_or_else(Answer::failed, |grant| Answer::Granted(Box::new(grant)))
            }
            Ask::Deq { .. } => self.locks.deq(ask).await.map_or_else(Answer::failed, |()| Answer::Done),
            Ask::Cancel { id } => self.locks.cancel(&id).await.map_or_else(Answer::failed, |()| Answer::Done),
            Ask::Show => {
                self.locks.alive().await.map_or_else(Answer::failed, |()| Answer::Session(self.about()))
            }
            Ask::Close => return self.close(&mut out).await,
            Ask::Taken => return Ok(()),
        };
        line::say(&mut out, answer).await
    }

    /// A grant belongs to whoever asked for it only once he has said that he has it.
    async fn lock(
        &self,
        ask: Ask,
        input: &mut BufReader<OwnedReadHalf>,
        out: &mut OwnedWriteHalf,
    ) -> io::Result<()> {
        let cancel = CancellationToken::new();
        let asking = self.locks.lock(ask, cancel.clone());
        match unless_gone(asking, cancel, input).await {
            Ok(grant) => {
                let id = grant.id.clone();
                let said = line::say(out, Answer::Granted(Box::new(grant))).await;
                let taken = match said {
                    Ok(()) => line::next(input).await,
                    Err(error) => Err(error),
                };
                let is_taken =
                    matches!(taken, Ok(Some(line)) if matches!(line::of_line(&line), Ok(Ask::Taken)));
                if !is_taken {
                    self.locks.give_back(&id).await;
                }
                Ok(())
            }
            Err(failure) => line::say(out, Answer::failed(failure)).await,
        }
    }

    async fn close(&self, out: &mut OwnedWriteHalf) -> io::Result<()> {
        self.end().await;
        let said = line::say(out, Answer::Done).await;
        self.closed.cancel();
        said
    }

    /// Closes the session in order; a server that does not answer ends it with its lease.
    async fn end(&self) {
        if !self.is_closing.swap(true, Ordering::Relaxed) {
            let _ = tokio::time::timeout(self.timeout, self.locks.session.clone().close()).await;
        }
    }
}

/// Waits for the end of `work`; if whoever asked for it goes before, it is cancelled, and its end is waited for.
async fn unless_gone<T>(
    work: impl Future<Output = T>,
    cancel: CancellationToken,
    input: &mut (impl AsyncBufRead + Unpin),
) -> T {
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        // Nothing is said before the answer, so whatever comes here is an end.
        _ = line::next(input) => cancel.cancel(),
    }
    work.await
}

/// Listens from the moment of the call, and returns when a signal asks this process to end.
fn ended_by_signal() -> impl Future<Output = ()> {
    let streams = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()]
        .map(|kind| signal(kind).ok());
    async fn next(stream: Option<tokio::signal::unix::Signal>) {
        match stream {
            Some(mut stream) => {
                stream.recv().await;
            }
            None => std::future::pending().await,
        }
    }
    let [term, int, hup] = streams.map(next);
    async {
        tokio::select! {
            () = term => {}
            () = int => {}
            () = hup => {}
        }
    }
}
