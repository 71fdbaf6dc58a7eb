//! What guards say when the server, the connection or the lease goes away. Here time is the subject: leases of a second.

use super::*;
use enq::client::{Client, ConnectError, LockLost, LockState, LossCause, NotGranted, Status, Wait, now};
use std::future::IntoFuture;
use tokio::net::TcpListener;

const TTL: Duration = Duration::from_secs(1);

/// A session of a second, which is given up when its lease has run out.
async fn session(proxy: &Proxy, bound: bool) -> Session {
    let builder = Session::builder("far away").ttl(TTL).bind_connection(bound).give_up_after(Duration::ZERO);
    builder.connect(&[proxy.address()]).await.unwrap()
}

#[tokio::test]
async fn a_server_that_stops_takes_the_session_with_it() {
    let stage = Stage::set().await;
    let proxy = Proxy::to(&stage.servers[0]).await;
    let session = Session::builder("one").connect(&[proxy.address()]).await.unwrap();
    let lock = session.lock("r").await.unwrap();
    let waiting = tokio::spawn(session.lock("r").into_future());
    wait_for_waiting(&session, "r", 1).await;
    let stop = lock.cancellation();
    // It may come back, so nobody is told yet. What comes back is a server that knows of no session.
    let next = Stage::set().await;
    proxy.lead_to(&next.servers[0]);
    soon(stage.server.shutdown()).await;
    let ended = soon(waiting).await.unwrap().unwrap_err();
    assert_eq!(ended, NotGranted::SessionLost(LossCause::Ended(Status::Session)));
    soon(stop.cancelled()).await;
    assert_eq!(soon(session.lost()).await, LossCause::Ended(Status::Session));
    assert!(!lock.held() && lock.time_left() == Duration::ZERO);
    assert_eq!(soon(lock.state_after(LockState::Safe)).await, LockState::Lost);
    let refused = soon(lock.release()).await.unwrap_err();
    assert!(matches!(refused.why, NotGranted::SessionLost(_)));
    assert!(matches!(session.lock("s").await, Err(NotGranted::SessionLost(_))));
    assert!(session.ping().await.is_err());
}

#[tokio::test]
async fn a_lease_that_nobody_confirms_goes_from_safe_to_jeopardy_to_lost() {
    let stage = Stage::set().await;
    let proxy = Proxy::to(&stage.servers[0]).await;
    let session = session(&proxy, false).await;
    let lock = session.lock("r").await.unwrap();
    // Idle for longer than a lease: the driver renews it.
    tokio::time::sleep(TTL * 3 / 2).await;
    assert_eq!(lock.state(), LockState::Safe);

    proxy.set(Way::Silent);
    let (cut, deadline) = (now(), lock.deadline());
    assert!(
        deadline.since(cut) <= Duration::from_millis(881),
        "TTL x 99/101 - 100 ms from a sending before now"
    );
    let waiting = tokio::spawn(session.lock("r").into_future());
    assert_eq!(soon(lock.state_after(LockState::Safe)).await, LockState::Jeopardy);
    assert!(lock.held());
    let worked = soon(lock.run_until_lost(std::future::pending::<()>())).await;
    assert_eq!(worked.unwrap_err(), LockLost::LeaseEnding);
    assert!(lock.held() && now() < deadline, "the work is told to stop before the lease ends");
    assert_eq!(soon(lock.state_after(LockState::Jeopardy)).await, LockState::Lost);
    assert!(now() >= deadline, "late, never early");
    assert_eq!(soon(session.lost()).await, LossCause::Expired);
    assert_eq!(soon(waiting).await.unwrap().unwrap_err(), NotGranted::SessionLost(LossCause::Expired));

    // Belief exclusion: the server gives the lock to another only after the first holder knew that it was lost.
    let other = stage.session("other").await;
    let next = soon(other.lock("r").into_future()).await.unwrap();
    assert!(next.fence() > lock.fence() && !lock.held());
}

#[tokio::test]
async fn a_broken_connection_ends_a_bound_session_at_once_and_another_with_its_lease() {
    let stage = Stage::set().await;
    let other = stage.session("other").await;
    for bound in [true, false] {
        let proxy = Proxy::to(&stage.servers[0]).await;
        let session = session(&proxy, bound).await;
        let lock = session.lock("r").await.unwrap();
        let waiting = tokio::spawn(session.lock("r").into_future());
        wait_for_waiting(&other, "r", 1).await;
        let deadline = lock.deadline();
        proxy.set(Way::Refusing);
        proxy.cut(Cut::Killed);
        let next = tokio::spawn(other.lock("r").wait(Wait::UpTo(TTL * 3)).into_future());
        if bound {
            let ended = soon(waiting).await.unwrap().unwrap_err();
            assert!(matches!(ended, NotGranted::SessionLost(LossCause::Disconnected(_))), "{ended}");
            assert!(now() < deadline && !lock.held(), "everybody is told at once");
            assert!(matches!(session.lock("s").await, Err(NotGranted::SessionLost(_))));
            assert!(matches!(soon(session.lost()).await, LossCause::Disconnected(_)));
            assert!(matches!(lock.loss(), Some(LockLost::Session(LossCause::Disconnected(_)))));
        } else {
            soon(lock.cancellation().cancelled()).await;
            assert!(now() < deadline && lock.held() && !waiting.is_finished());
            assert_eq!(soon(lock.state_after(LockState::Jeopardy)).await, LockState::Lost);
            let ended = soon(waiting).await.unwrap().unwrap_err();
            assert_eq!(ended, NotGranted::SessionLost(LossCause::Expired));
            assert_eq!(soon(session.lost()).await, LossCause::Expired);
            assert_eq!(lock.loss(), Some(LockLost::Session(LossCause::Expired)));
        }
        let next = soon(next).await.unwrap().unwrap();
        assert_eq!(now() >= deadline, !bound, "the server waits for the lease unless the session is bound");
        next.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_is_dropped_is_closed_when_its_last_lock_is() {
    let stage = Stage::set().await;
    let (one, other) = (stage.session("one").await, stage.session("other").await);
    let keeper = other.lock("r").mode(NL).read_value().await.unwrap();
    let lock = one.lock("r").mode(EX).await.unwrap();
    drop(one);
    other.ping().await.unwrap();
    assert!(lock.held(), "the lock keeps its session");
    drop(lock);
    until(|| async { other.sessions().await.unwrap().len() == 1 }).await;
    let keeper = keeper.convert(EX).read_value().await.unwrap();
    assert!(keeper.value().unwrap().valid, "it was closed in order");

    // A session that is being closed holds nothing, whether or not anybody waits for the answer.
    let proxy = Proxy::to(&stage.servers[0]).await;
    let far = session(&proxy, false).await;
    let (lock, again) = (far.lock("s").await.unwrap(), far.clone());
    proxy.set(Way::Silent);
    assert!(lock.held());
    assert!(tokio::time::timeout(Duration::from_millis(1), far.close()).await.is_err());
    assert!(!lock.held());
    soon(lock.cancellation().cancelled()).await;
    assert!(matches!(again.lock("s").await, Err(NotGranted::SessionLost(_))));
    proxy.set(Way::Refusing);
    proxy.cut(Cut::Killed);
    drop((lock, again));

    let two = stage.session("two").await;
    let waiting = two.lock("r");
    let waiting = tokio::spawn(waiting.into_future());
    wait_for_waiting(&other, "r", 1).await;
    let id = two.id();
    soon(two.close()).await.unwrap();
    assert!(matches!(soon(waiting).await.unwrap(), Err(NotGranted::SessionLost(_) | NotGranted::Aborted)));
    until(|| async { other.show_session(id).await.is_err() }).await;
}

#[tokio::test]
async fn an_expired_session_is_told() {
    let stage = Stage::set().await;
    let session = stage.session("one").await;
    let lock = session.lock("r").await.unwrap();
    let admin = Client::connect(&stage.servers).await.unwrap();
    admin.expire_session(session.id(), "test").await.unwrap();
    assert_eq!(soon(session.lost()).await, LossCause::Ended(Status::SessionLost));
    assert!(!lock.held());
}

#[tokio::test]
async fn servers_are_tried_in_turn_and_refusals_say_who_and_why() {
    let stage = Stage::set().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let servers = [gone.clone(), stage.servers[0].clone()];
    soon(Client::connect(&servers)).await.unwrap().ping().await.unwrap();
    let error = Client::connect(&[&gone]).await.err().unwrap();
    assert!(matches!(&error, ConnectError::Unreachable { server, .. } if *server == gone), "{error}");
    assert!(matches!(Client::connect::<&str>(&[]).await.err().unwrap(), ConnectError::NoServer));

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let error = Client::connect_within(&[&address], Duration::from_millis(50)).await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    tokio::spawn(async move {
        let (mut stream, _) = silent.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let error = soon(Client::connect(&[&address])).await.err().unwrap();
    assert!(
        matches!(error, ConnectError::PeerMisbehaved { .. } | ConnectError::Unreachable { .. }),
        "{error}"
    );
    let error =
        Session::builder("brief").ttl(Duration::from_millis(5)).connect(&stage.servers).await.err().unwrap();
    assert!(matches!(error, ConnectError::Refused { status: Status::Limit, .. }), "{error}");
}
