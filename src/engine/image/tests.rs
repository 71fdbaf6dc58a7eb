//! Bytes, and a shard with a crowd in it; what small shards do is compared with the model in `tests/sim`.

use super::{Bad, Image, Local, Reader, Writer};
use crate::engine::{Ask, End, Input, Instant, Limits, LockRef, Output, Planted, Said, Shard, Under};
use enq_protocol::vocabulary::{
    Flags, Handle, LockId, LockMode, LockspaceId, Owner, ResourceName, SessionId,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::collections::VecDeque;

fn bytes_of(value: &impl Image) -> Vec<u8> {
    let mut to = Writer::default();
    value.write(&mut to);
    to.into_bytes()
}

fn read<T: Image>(bytes: &[u8]) -> Result<T, Bad> {
    let mut from = Reader::new(bytes);
    let value = T::read(&mut from)?;
    from.end()?;
    Ok(value)
}

#[test]
fn a_number_has_one_way_to_be_written() {
    let sevens = (0..10).flat_map(|sevens| [(1_u64 << (7 * sevens)) - 1, 1 << (7 * sevens)]);
    for number in sevens.chain([u64::MAX - 1, u64::MAX]) {
        let bytes = bytes_of(&number);
        assert_eq!(read::<u64>(&bytes).unwrap(), number);
        let longer: Vec<u8> =
            bytes[..bytes.len() - 1].iter().copied().chain([bytes[bytes.len() - 1] | 0x80, 0]).collect();
        assert!(read::<u64>(&longer).is_err(), "{number} in one byte more");
    }
    assert_eq!(bytes_of(&300_u64), [0xAC, 0x02]);
    assert!(read::<u64>(&[0xFF; 11]).is_err());
    let too_great = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02];
    assert_eq!(
        read::<u64>(&too_great).unwrap_err().to_string(),
        "no state image: a number of more than 64 bits, before byte 10"
    );
    assert!(read::<u32>(&bytes_of(&(1_u64 << 32))).is_err());
    assert!(read::<bool>(&[2]).is_err() && read::<Option<u8>>(&[2, 2]).is_err());
}

#[test]
fn no_length_makes_more_room_than_there_are_bytes() {
    let claimed = bytes_of(&u64::MAX);
    assert!(read::<Vec<u64>>(&claimed).is_err());
    assert!(read::<VecDeque<Box<[u8]>>>(&claimed).is_err());
    assert!(read::<Box<[u8]>>(&claimed).is_err() && read::<String>(&claimed).is_err());
    let bad = read::<Owner>(&[0, 0x80]).unwrap_err();
    assert_eq!(
        (bad.at(), bad.to_string().as_str()),
        (2, "no state image: the end too early, before byte 2, in token of Owner")
    );
}

fn image(shard: &Shard) -> Vec<u8> {
    let mut to = Writer::default();
    shard.put_image(&mut to);
    to.into_bytes()
}

/// A shard that is asked for this and that, most of it by few sessions.
struct Crowd {
    random: SmallRng,
    now: u64,
    locks: Vec<(SessionId, LockId)>,
    sessions: u64,
    handle: u32,
}

impl Crowd {
    /// The next steps, mostly new locks or mostly releases.
    fn steps(&mut self, shards: &mut [Shard], count: u32, grows: bool) {
        for _ in 0..count {
            self.now += self.random.random_range(0..2_000_000);
            let dice = self.random.random_range(0..100);
            if dice < 2 {
                let session = SessionId(self.random.random_range(0..self.sessions));
                let end = if dice == 0 { End::Died } else { End::ReleasedAll { invalidate: true } };
                self.step(shards, Input::SealSession { session, end, orphan_key: b"" });
                // Some ends take longer.
                while self.random.random_ratio(3, 4) {
                    self.step(shards, Input::Continue);
                }
            } else if dice < 6 {
                self.step(shards, Input::Tick);
            } else if !self.locks.is_empty() && (dice < 30 || (!grows && dice < 80)) {
                let at = self.random.random_range(0..self.locks.len());
                let (session, id) = self.locks.swap_remove(at);
                let (lock, flags) = (LockRef::Id(id), Flags::NONE);
                self.step(shards, Input::Deq { session, lock, flags, value: None });
            } else {
                self.ask(shards);
            }
        }
    }

    fn ask(&mut self, shards: &mut [Shard]) {
        self.handle += 1;
        let text = format!("{:040}", self.random.random_range(0..2_000));
        let parent =
            (!self.locks.is_empty()).then(|| self.locks[self.random.random_range(0..self.locks.len())]);
        let parent = parent.filter(|_| self.random.random_ratio(1, 3));
        let session =
            parent.map_or_else(|| SessionId(self.random.random_range(0..self.sessions)), |parent| parent.0);
        let under = match parent {
            Some((_, lock)) => Under::Parent(LockRef::Id(lock)),
            None => Under::Lockspace(LockspaceId(0)),
        };
        let ask = Ask {
            session,
            mode: LockMode::ALL[self.random.random_range(0..6)],
            flags: Flags::BLKAST,
            owner: Owner { scope: 0, token: self.random.random_range(0..3) },
            timeout_ms: Some(self.random.random_range(1..20_000)),
            priority: 0,
            reason: &text.as_bytes()[..self.random.random_range(0..20)],
        };
        let (handle, name) = (Handle::new(self.handle).unwrap(), ResourceName::new(text.as_bytes()).unwrap());
        self.step(shards, Input::Enq { ask, handle, under, name: &name });
    }

    /// All shards say the same.
    fn step(&mut self, shards: &mut [Shard], input: Input<'_>) {
        let mut said: Option<Vec<Output>> = None;
        for shard in shards {
            let mut out = Vec::new();
            shard.step(Instant(self.now), input, &mut out);
            assert_eq!(*said.get_or_insert_with(|| out.clone()), out, "{input:?}");
        }
        for Output { session, said } in said.unwrap_or_default() {
            match said {
                Said::Granted(grant) => self.locks.push((session, grant.lock)),
                Said::Queued { lock, .. } => self.locks.push((session, lock)),
                _ => {}
            }
        }
    }
}

/// Thousands of locks come and go; chunks of slots are filled, given back and taken again.
#[test]
fn a_crowd_goes_on_from_images() {
    let (mut given_back, mut live_max) = (false, 0);
    for seed in 0..6 {
        let mut crowd = Crowd {
            random: SmallRng::seed_from_u64(seed),
            now: 0,
            locks: Vec::new(),
            sessions: 40,
            handle: 0,
        };
        let limits = Limits::default();
        let mut shards = vec![Shard::new(9, limits, 3, seed)];
        for round in 0..8 {
            crowd.steps(&mut shards, 1_200, round % 4 < 2);
            let bytes = image(&shards[0]);
            for shard in &shards {
                assert!(image(shard) == bytes, "seed {seed}, round {round}: all have one image");
            }
            let local = Local { hash_seed: round, memory: usize::MAX, history: 0, planted: Planted::NONE };
            let mut from = Reader::new(&bytes);
            let again = Shard::from_image(&mut from, &local).and_then(|shard| from.end().map(|()| shard));
            let again = again.unwrap_or_else(|bad| panic!("seed {seed}, round {round}: {bad}"));
            assert_eq!(again.check(), Ok(()), "seed {seed}, round {round}");
            assert!(image(&again) == bytes);
            live_max = live_max.max(again.locks.len());
            given_back |= again.locks.slots() > 4 * again.locks.len() + 512;
            shards.push(again);
        }
    }
    assert!(given_back && live_max > 600, "{given_back}, {live_max}");
}
