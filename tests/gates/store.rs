//! The scalar gate in the metadata of an object, against the gate of the library and against holders that come too late.

use crate::{
    object::{FENCE, If, Store, read, write},
    stage::Server,
};
use enq::client::{Fence, FenceGate};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{cell::Cell, collections::BTreeMap};

const NAME: &str = "state.json";

#[test]
fn an_object_accepts_and_refuses_what_the_gate_does() {
    for seed in 0..50 {
        let mut random = SmallRng::seed_from_u64(seed);
        let (store, mut gate) = (Store::default(), FenceGate::default());
        for _ in 0..60 {
            let fence = Fence(random.random_range(0..12));
            let put = write(&store, NAME, fence, |body| [body, b"x"].concat());
            assert_eq!(put.is_ok(), gate.pass(fence).is_ok(), "seed {seed}, {fence}");
            let stored = store.get(NAME).map(|object| object.metadata[FENCE].clone());
            assert_eq!(stored.unwrap_or_else(|| "0".into()), gate.to_string(), "seed {seed}");
        }
    }
}

#[test]
fn a_put_says_what_it_was_made_from() {
    let store = Store::default();
    let none = BTreeMap::new;
    assert!(store.put(NAME, If::Match("\"1\""), b"a", none()).is_err(), "there is nothing to match");
    assert!(store.put(NAME, If::NoneMatch, b"a", none()).is_ok());
    assert!(store.put(NAME, If::NoneMatch, b"b", none()).is_err(), "somebody was first");
    let tag = store.get(NAME).unwrap().tag;
    assert!(store.put(NAME, If::Match(&tag), b"b", none()).is_ok());
    assert!(store.put(NAME, If::Match(&tag), b"c", none()).is_err(), "a tag is used once");
    assert_eq!(store.get(NAME).unwrap().body, b"b");
}

/// The later holder comes at the worst moment: between the look at the gate and the put.
#[test]
fn a_holder_that_is_overtaken_between_look_and_put_is_refused() {
    let store = Store::default();
    write(&store, NAME, Fence(5), |_| b"100".to_vec()).unwrap();
    let overtaken = Cell::new(false);
    let stale = write(&store, NAME, Fence(5), |_| {
        if !overtaken.replace(true) {
            assert_eq!(read(&store, NAME, Fence(6)).unwrap(), b"100");
        }
        b"90".to_vec()
    });
    assert_eq!(stale.unwrap_err().seen, 6);
    assert_eq!(store.get(NAME).unwrap().body, b"100");
    // The control: without the condition, the look at the gate was good and the write is done.
    let unconditional = |body: &[u8]| {
        let tag = store.get(NAME).unwrap().tag;
        store.put(NAME, If::Match(&tag), body, BTreeMap::new())
    };
    assert!(FenceGate::seen(Fence(5)).pass(Fence(5)).is_ok() && unconditional(b"90").is_ok());
    assert_eq!(store.get(NAME).unwrap().body, b"90", "the later holder's object is gone");
}

#[tokio::test]
async fn a_stale_holder_writes_no_object() {
    let server = Server::start();
    let store = Store::default();
    let (asleep, its) = server.holder("sleeper", "object").await;
    assert_eq!(read(&store, NAME, its.fence()).unwrap(), b"");
    server.expire(&asleep).await;
    let (_awake, lock) = server.holder("next", "object").await;
    read(&store, NAME, lock.fence()).unwrap();
    assert!(write(&store, NAME, its.fence(), |_| b"late".to_vec()).is_err());
    write(&store, NAME, lock.fence(), |_| b"in time".to_vec()).unwrap();
    assert!(write(&store, NAME, its.fence(), |_| b"late".to_vec()).is_err());
    assert_eq!(store.get(NAME).unwrap().body, b"in time");
}
