//! A record in words, for people who look into a journal.
//!
//! Secrets are left out: who reads a dump cannot take over a session or an orphan with it.

use super::{Act, Record, Room};
use crate::{
    engine::{Ask, Input, LockRef, Under, session::Call},
    table::{About, Refusal, Terms},
};
use enq_protocol::vocabulary::{Flags, Policy, ResourceName};
use std::fmt::Display;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// When it was taken in, by the clock of the log.
    pub now_ns: u64,
    /// What it is, in a word.
    pub what: &'static str,
    /// What else it says, with what each is.
    pub fields: Vec<(&'static str, Vec<u8>)>,
}

impl Words {
    /// The record that these bytes are; none if they are none of this version.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Words> {
        let mut room = Room::default();
        let record = Record::read(bytes, &mut room).ok()?;
        let mut words = Words { now_ns: record.now.0, what: "", fields: Vec::new() };
        words.what = words.act(&record.act);
        Some(words)
    }

    fn say(&mut self, key: &'static str, value: impl Display) {
        self.fields.push((key, value.to_string().into_bytes()));
    }

    /// What may be any bytes.
    fn quote(&mut self, key: &'static str, bytes: &[u8]) {
        self.fields.push((key, bytes.to_vec()));
    }

    fn act(&mut self, act: &Act<'_>) -> &'static str {
        match act {
            Act::Start(Terms { epoch, route_key: _, window_requests, window_bytes, limits }) => {
                self.say("epoch", epoch);
                self.say("window_requests", window_requests);
                self.say("window_bytes", window_bytes);
                self.say("locks_a_session_max", limits.locks_a_session);
                self.say("waiting_a_session_max", limits.waiting_a_session);
                self.say("waiting_a_resource_max", limits.waiting_a_resource);
                "start"
            }
            Act::Open(About { name, purpose, host, pid, peer, ttl_ms, bound, secret: _, orphan_key: _ }) => {
                self.quote("name", name.as_bytes());
                self.quote("purpose", purpose.as_bytes());
                self.quote("host", host.as_bytes());
                self.say("pid", pid);
                self.quote("peer", peer.as_bytes());
                self.say("ttl_ms", ttl_ms);
                self.say("bound", bound);
                "open"
            }
            Act::Request { session, request, acked, call } => {
                self.say("session", session);
                self.say("request", request.number);
                let what = self.call(call);
                self.say("acked", acked);
                what
            }
            Act::Kill(session) => {
                self.say("session", session);
                "kill"
            }
            Act::Pass => "pass",
            Act::Refuse(Refusal { lock, stamp, record, converts }) => {
                self.say("lock", lock);
                self.say("stamp", stamp.0);
                self.say("record", record);
                self.say("converts", converts);
                "refuse"
            }
            Act::ForceRelease { lock, version, by, reason } => {
                self.say("lock", lock);
                self.say("version", version);
                self.say("by", by);
                self.quote("reason", reason.as_bytes());
                "force-release"
            }
            Act::SetPriority { lock, priority } => {
                self.say("lock", lock);
                self.say("priority", priority);
                "set-priority"
            }
        }
    }

    fn call(&mut self, call: &Call<'_>) -> &'static str {
        match call {
            Call::Lock(input) => self.input(input),
            Call::ReleaseAll { flags } => {
                self.flags(*flags);
                "release-all"
            }
            Call::Purge { lockspace, root, orphan_key: _ } => {
                self.say("space", lockspace.0);
                if let Some(root) = root {
                    self.say("name", root);
                }
                "purge"
            }
            Call::CreateSpace { name, policy, exclusive } => {
                self.say("name", name);
                self.policy(policy);
                self.say("exclusive", exclusive);
                "create-space"
            }
            Call::SetSpace { lockspace, version, policy } => {
                self.say("space", lockspace.0);
                self.say("version", version);
                self.policy(policy);
                "set-space"
            }
            Call::RemoveSpace { lockspace, force } => {
                self.say("space", lockspace.0);
                self.say("force", force);
                "remove-space"
            }
            Call::Close => "close",
            Call::Refused(status) => {
                self.say("status", status);
                "refused"
            }
        }
    }

    fn input(&mut self, input: &Input<'_>) -> &'static str {
        match input {
            Input::Enq { ask, handle, under, name } => {
                self.say("handle", handle.0);
                self.under(*under);
                self.say("name", name);
                self.ask(ask);
                "enq"
            }
            Input::EnqPath { ask, handles, lockspace, path } => {
                let handles: Vec<String> = handles.iter().map(|handle| handle.0.to_string()).collect();
                self.say("handles", handles.join(","));
                self.say("space", lockspace.0);
                self.say("path", ResourceName::path_to_printable(path));
                self.ask(ask);
                "enq-path"
            }
            Input::Convert { session: _, lock, mode, flags, timeout_ms, priority, value } => {
                self.lock(*lock);
                self.say("mode", mode);
                self.flags(*flags);
                self.wait(*timeout_ms, *priority);
                self.value(*value);
                "convert"
            }
            Input::Deq { session: _, lock, flags, value } => {
                self.lock(*lock);
                self.flags(*flags);
                self.value(*value);
                "deq"
            }
            Input::Cancel { session: _, lock, flags } => {
                self.lock(*lock);
                self.flags(*flags);
                "cancel"
            }
            Input::SealSublocks { session: _, lock, flags, orphan_key: _ } => {
                self.lock(*lock);
                self.flags(*flags);
                "release-below"
            }
            Input::Adopt { ask, handle, under, name, orphan_key: _ } => {
                self.say("handle", handle.0);
                self.under(*under);
                self.say("name", name);
                self.ask(ask);
                "adopt"
            }
            Input::SealSession { .. }
            | Input::Purge { .. }
            | Input::Continue
            | Input::Tick
            | Input::SetPolicy { .. }
            | Input::ForceRelease { .. }
            | Input::EndRequest { .. }
            | Input::RefuseDeadlock { .. }
            | Input::SetPriority { .. }
            | Input::RaiseEpoch { .. } => unreachable!("no request of a session is {input:?}"),
        }
    }

    fn ask(&mut self, Ask { session: _, mode, flags, owner, timeout_ms, priority, reason }: &Ask<'_>) {
        self.say("mode", mode);
        self.flags(*flags);
        if owner.token != 0 {
            self.say("owner", owner.token);
        }
        self.wait(*timeout_ms, *priority);
        if !reason.is_empty() {
            self.quote("reason", reason);
        }
    }

    fn under(&mut self, under: Under) {
        match under {
            Under::Lockspace(lockspace) => self.say("space", lockspace.0),
            Under::Parent(LockRef::Handle(handle)) => self.say("parent", handle.0),
            Under::Parent(LockRef::Id(id)) => self.say("parent", id),
        }
    }

    fn lock(&mut self, lock: LockRef) {
        match lock {
            LockRef::Handle(handle) => self.say("handle", handle.0),
            LockRef::Id(id) => self.say("lock", id),
        }
    }

    fn flags(&mut self, flags: Flags) {
        if flags != Flags::NONE {
            self.say("flags", flags);
        }
    }

    fn wait(&mut self, timeout_ms: Option<u32>, priority: u8) {
        if let Some(timeout_ms) = timeout_ms {
            self.say("timeout_ms", timeout_ms);
        }
        if priority != 0 {
            self.say("priority", priority);
        }
    }

    fn value(&mut self, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.quote("value", value);
        }
    }

    fn policy(&mut self, policy: &Policy) {
        self.fields.push(("policy", format!("{policy:?}").into_bytes()));
    }
}
