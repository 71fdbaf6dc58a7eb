//! Many sessions at once on several threads: whoever waits is granted in the end, and at the end nothing is left.

use crate::speaker::{Speaker, convert, deq, done, granted, root, session, soon, sublock};
use enq::server::{Config, Server};
use enq_protocol::{
    vocabulary::{
        Flags, LockMode,
        LockMode::{Cr, Ex},
        Status,
    },
    wire::{Cancel, DeqAll, Event, FromServer, Reply, Request},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

const NONE: Flags = Flags::NONE;
const SESSIONS: u64 = 8;
const ROUNDS: u32 = 300;

/// Takes what is said until the request is answered; events about others' wishes are skipped.
async fn answer(speaker: &mut Speaker) -> Reply {
    loop {
        match speaker.next().await {
            FromServer::Answer(answer) => return answer.reply,
            FromServer::Event { event: Event::Blocking { .. } | Event::Ended { .. }, .. }
            | FromServer::Acked => {}
            said => panic!("no answer, but {said:?}"),
        }
    }
}

/// Takes what is said until the request is answered; a wait may end meanwhile, well or badly.
async fn answer_amid_events(speaker: &mut Speaker) -> Reply {
    loop {
        if let FromServer::Answer(answer) = speaker.next().await {
            return answer.reply;
        }
    }
}

/// Waits until the lock is granted.
async fn grant(speaker: &mut Speaker) {
    loop {
        match speaker.next().await {
            FromServer::Event { event: Event::Granted(_), .. } => return,
            FromServer::Event { event: Event::Blocking { .. }, .. } | FromServer::Acked => {}
            said => panic!("no grant, but {said:?}"),
        }
    }
}

/// One session: takes a lock after the other, waits, gives up, holds trees, and leaves in one of two ways.
async fn live(mut speaker: Speaker, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    for round in 0..ROUNDS {
        let name = format!("resource-{}", rng.random_range(0..3));
        let mode = LockMode::ALL[rng.random_range(0..6)];
        speaker.send(&root(1, &name, mode, Flags::BLKAST)).await;
        match answer(&mut speaker).await {
            Reply::Granted(_) => {}
            Reply::Queued { .. } if rng.random_bool(0.2) => {
                speaker
                    .send(&Request::Cancel(Cancel { handle: crate::speaker::handle(1), flags: NONE }))
                    .await;
                loop {
                    match speaker.next().await {
                        FromServer::Event { event: Event::Ended { .. }, .. } => {}
                        FromServer::Event { .. } | FromServer::Acked => {}
                        FromServer::Answer(cancelled) if done(cancelled.reply.clone()) == Status::Done => {
                            break;
                        }
                        // The grant and the cancel have crossed: the lock is there.
                        FromServer::Answer(_) => {
                            speaker.send(&deq(1, NONE)).await;
                            assert_eq!(done(answer(&mut speaker).await), Status::Released);
                            break;
                        }
                        said => panic!("{said:?}"),
                    }
                }
                continue;
            }
            Reply::Queued { .. } => grant(&mut speaker).await,
            reply => panic!("{reply:?}"),
        }
        if rng.random_bool(0.3) {
            for number in 2..6 {
                let name = number.to_string();
                speaker.send(&sublock(number, 1, &name, Cr)).await;
                let reply = answer(&mut speaker).await;
                granted(reply);
            }
            let under = Some(crate::speaker::handle(1)).filter(|_| round % 2 == 0);
            speaker.send(&Request::DeqAll(DeqAll { under, flags: NONE })).await;
            assert_eq!(done(answer(&mut speaker).await), Status::Released);
            if under.is_none() {
                continue;
            }
        }
        speaker.send(&deq(1, NONE)).await;
        assert_eq!(done(answer(&mut speaker).await), Status::Released);
    }
    speaker.send(&root(1, "last", Cr, NONE)).await;
    // Another's conversion may stand before it.
    let last = answer(&mut speaker).await;
    assert!(matches!(last, Reply::Granted(_) | Reply::Queued { .. }), "{last:?}");
    // An up-conversion may wait for ever, or be refused; the end of the session ends it.
    speaker.send(&convert(1, Ex, NONE)).await;
    let _ = answer_amid_events(&mut speaker).await;
    if seed.is_multiple_of(2) {
        speaker.send(&Request::Close).await;
        assert_eq!(done(answer_amid_events(&mut speaker).await), Status::Done);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_waits_is_granted_and_at_the_end_nothing_is_left() {
    let server = Server::start(Config::for_tests()).await.unwrap();
    let mut lives = Vec::new();
    for seed in 0..SESSIONS {
        let (speaker, _) = Speaker::opened_as(&server, session(15_000, true)).await;
        lives.push(tokio::spawn(live(speaker, seed)));
    }
    for life in lives {
        soon("a session's life", life).await.unwrap();
    }
    soon("everything to go", async {
        while server.statistics().locks != 0 || server.table().session_count() != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.table().check(), Ok(()));
    let statistics = server.statistics();
    assert_eq!((statistics.resources, statistics.waiting, statistics.converting), (0, 0, 0));
    assert!(statistics.enq_forced_to_wait > 50, "they were in each other's way");
}
