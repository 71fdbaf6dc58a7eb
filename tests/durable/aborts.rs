//! A record that ends the process whenever it is applied: tried once more by the next start, and by none after that.
//!
//! The mistake is planted (`src/log/planted.rs`): whoever asks for a lock of a certain name writes such a record.

use crate::stage::{Ended, Place};
use enq::client::Session;
use std::{fs, future::IntoFuture as _};

/// Starts it with the mistake in it; it ends before it serves.
async fn start_with_it(place: &Place) -> Ended {
    let mut command = place.enqd();
    command.env("ENQ_PLANTED_ABORT", "poison");
    place.begin(command).try_serve().await.err().expect("it does not get as far as to serve")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_ends_the_process_twice_is_named_and_not_tried_again() {
    let place = Place::new();
    let mut command = place.enqd();
    command.env("ENQ_PLANTED_ABORT", "poison");
    let server = place.begin(command).serves().await;
    let session = Session::builder("one").connect(&[&place.address]).await.unwrap();
    let held = session.lock("held").await.unwrap();
    let asked = tokio::spawn(session.lock("poison").into_future());
    let ended = server.ended().await;
    assert_eq!(ended.code, None, "it was ended by a signal: {}", ended.said);

    // Perhaps it was not the record's fault: it is tried again.
    let again = start_with_it(&place).await;
    assert_eq!(again.code, None, "{}", again.said);
    // It was.
    for _ in 0..2 {
        let before = fs::read(place.data().join("attempts")).unwrap();
        let refused = start_with_it(&place).await;
        assert_eq!(refused.code, Some(78), "{}", refused.said);
        let attempts = place.data().join("attempts").display().to_string();
        let said = refused.said;
        assert!(said.contains("the server ended abnormally 2 times while it applied position"), "{said}");
        assert!(
            said.contains("report it with a copy of the directory") && said.contains(&attempts),
            "{said}"
        );
        assert_eq!(fs::read(place.data().join("attempts")).unwrap(), before);
    }
    // Whoever has looked removes the note, and may try twice more.
    fs::remove_file(place.data().join("attempts")).unwrap();
    assert_eq!(start_with_it(&place).await.code, None);
    assert_eq!(start_with_it(&place).await.code, None);
    assert_eq!(start_with_it(&place).await.code, Some(78));

    // A server without the mistake goes on where the other one ended: everything is there.
    fs::remove_file(place.data().join("attempts")).unwrap();
    let server = place.start().await;
    let poison = asked.await.unwrap().unwrap();
    assert!(held.held() && poison.held());
    server.stop().await;
}
