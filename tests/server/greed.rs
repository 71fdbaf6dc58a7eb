//! Who takes too much: of the window, of time, of places.

use crate::speaker::{
    Speaker, convert, deq, done, encoded, granted, handle, hello, looked, refused, root, server, session,
    soon,
};
use enq::server::{Config, DoorLimits, Patience, Server};
use enq_protocol::{
    vocabulary::{
        Flags,
        LockMode::{Ex, Nl},
        Status,
    },
    wire::{Cancel, FromServer, Look, Request, Seen},
};
use std::time::Duration;

const NONE: Flags = Flags::NONE;

#[tokio::test]
async fn a_window_that_is_overrun_closes_the_connection() {
    let server = server().await;
    let (mut speaker, id) = Speaker::opened_as(&server, session(15_000, false)).await;
    // Nothing is acknowledged, so every request stays in flight.
    let mut burst = Vec::new();
    for _ in 0..1_025 {
        speaker.last += 1;
        burst.extend(encoded(&convert(9, Ex, NONE), speaker.last, 0));
    }
    speaker.write(&burst).await;
    for _ in 0..1_024 {
        assert_eq!(refused(speaker.answer().await), Status::NoSuchLock);
    }
    assert_eq!(speaker.end_status().await, Some(Status::Flow));
    assert!(server.table().session(id).is_some(), "the session lives on");
}

/// A lock and its cancel, over and over, without ever acknowledging what is said of them.
#[tokio::test]
async fn a_flood_of_locks_and_cancels_is_a_window_that_is_overrun() {
    let server = server().await;
    let mut holder = Speaker::opened(&server).await;
    granted(holder.enq(1, "a", Ex, NONE).await);
    let (mut speaker, id) = Speaker::opened_as(&server, session(15_000, false)).await;
    let mut burst = Vec::new();
    for _ in 0..600 {
        let cancel = Request::Cancel(Cancel { handle: handle(1), flags: NONE });
        for request in [root(1, "a", Ex, NONE), cancel] {
            speaker.last += 1;
            burst.extend(encoded(&request, speaker.last, 0));
        }
    }
    speaker.write(&burst).await;
    let mut answers = 0;
    let status = loop {
        match speaker.next().await {
            FromServer::Answer(_) => answers += 1,
            FromServer::Fatal(fatal) => break fatal.status,
            _ => {}
        }
    };
    assert_eq!((answers, status), (1_024, Status::Flow), "what is inside the window is answered");
    assert!(server.table().session(id).is_some(), "the session lives on");
    assert_eq!(server.statistics().waiting, 0, "and every one was cancelled");
    // Others are served as before.
    assert_eq!(done(holder.ask(&deq(1, NONE)).await), Status::Released);
}

#[tokio::test]
async fn a_window_is_also_a_number_of_bytes() {
    let server = server().await;
    let mut speaker = Speaker::opened(&server).await;
    let name = "n".repeat(255);
    let path: Vec<&[u8]> = vec![name.as_bytes(); 200];
    let request = Request::EnqPath(enq_protocol::wire::EnqPath {
        handles: (1..=200).map(crate::speaker::handle).collect(),
        lockspace: enq_protocol::vocabulary::LockspaceId(0),
        path,
        mode: Ex,
        flags: NONE,
        owner: enq_protocol::vocabulary::Owner::default(),
        timeout_ms: None,
        priority: 0,
        reason: b"",
    });
    for _ in 0..4 {
        let bytes = encoded(&request, speaker.last + 1, 0);
        assert!(bytes.len() > 50_000);
        speaker.last += 1;
        speaker.write(&bytes).await;
        assert_eq!(refused(speaker.answer().await), Status::TooDeep);
    }
    let fill = "n".repeat(255);
    loop {
        let bytes = encoded(&root(1, &fill, Nl, Flags::HEADQUE), speaker.last + 1, 0);
        speaker.last += 1;
        speaker.write(&bytes).await;
        match speaker.next().await {
            FromServer::Answer(_) => assert!(speaker.last < 400, "256 KiB are the window"),
            FromServer::Fatal(fatal) => break assert_eq!(fatal.status, Status::Flow),
            said => panic!("{said:?}"),
        }
    }
}

/// A server that is not patient.
async fn impatient() -> Server {
    let short = Duration::from_millis(60);
    let patience =
        Patience { first_frame: short, handshake: short, frame: short, write: short, overrun: short };
    Server::start(Config { patience, ..Config::for_tests() }).await.unwrap()
}

#[tokio::test]
async fn who_takes_too_long_is_sent_away() {
    let server = impatient().await;
    let mut silent = Speaker::connect(&server).await;
    assert_eq!(silent.end_status().await, None, "no first frame");
    let mut slow = Speaker::connect(&server).await;
    slow.write(&hello()[..7]).await;
    assert_eq!(slow.end_status().await, None, "no whole first frame");
    let mut idle = Speaker::greeted(&server).await;
    let (mut stuck, id) = Speaker::opened_as(&server, session(15_000, false)).await;
    stuck.write(&encoded(&root(1, "a", Ex, NONE), 1, 0)[..30]).await;
    assert_eq!(stuck.end_status().await, Some(Status::Timeout), "a long pause inside a frame");
    assert!(server.table().session(id).is_some(), "the session lives on");
    assert_eq!(idle.look(Look::Ping).await, Seen::Done, "who has said everything may be silent");
}

#[tokio::test]
async fn one_byte_at_a_time_is_too_slow() {
    let server = impatient().await;
    let mut drip = Speaker::greeted(&server).await;
    let bytes = looked(&Look::Ping, 1);
    let ended = soon("the server to lose its patience", async {
        for byte in &bytes {
            if !drip.write_if_open(&[*byte]).await {
                return true;
            }
            // Progress by bytes is no progress: this is what the test is about.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drip.end_status().await == Some(Status::Timeout)
    })
    .await;
    assert!(ended);
}

#[tokio::test]
async fn when_there_are_too_many_strangers_the_oldest_goes() {
    let door = DoorLimits { strangers: 3, ..DoorLimits::default() };
    let server = Server::start(Config { door, ..Config::for_tests() }).await.unwrap();
    let mut guest = Speaker::greeted(&server).await;
    let mut strangers = Vec::new();
    for _ in 0..4 {
        strangers.push(Speaker::connect(&server).await);
    }
    assert_eq!(strangers[0].end_status().await, None);
    strangers[3].write(&hello()).await;
    assert!(matches!(strangers[3].next().await, FromServer::Welcome(_)));
    assert_eq!(guest.look(Look::Ping).await, Seen::Done, "who has been greeted stays");
}

#[tokio::test]
async fn when_the_house_is_full_nobody_comes_in() {
    let door = DoorLimits { connections: 2, kept: 0, ..DoorLimits::default() };
    let server = Server::start(Config { door, ..Config::for_tests() }).await.unwrap();
    let (one, mut two) = (Speaker::greeted(&server).await, Speaker::greeted(&server).await);
    let mut three = Speaker::connect(&server).await;
    assert_eq!(three.end_status().await, Some(Status::Unavailable));
    assert_eq!(two.look(Look::Ping).await, Seen::Done);
    drop(one);
    soon("a place to be free", async {
        loop {
            let mut four = Speaker::connect(&server).await;
            if four.write_if_open(&hello()).await && four.next_or_end().await.is_some() {
                return;
            }
        }
    })
    .await;
}
