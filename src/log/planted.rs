//! A mistake that tests plant in what becomes of records (`docs/testing.md`): one record ends the process whenever it is
//! applied, by a server that serves as by every start that reads it again.
//!
//! Without the feature `planted`, which only the tests of this repository switch on, there is nothing here.

use crate::engine::session::Call;

/// Names the resource; whoever asks for a lock on it writes that record.
#[cfg(feature = "planted")]
const NAME: &str = "ENQ_PLANTED_ABORT";

/// Ends the process if this is the record.
#[cfg(feature = "planted")]
pub(super) fn may_abort(call: &Call<'_>) {
    use crate::engine::Input;
    use std::sync::OnceLock;

    static PLANTED: OnceLock<Option<String>> = OnceLock::new();
    let Some(planted) = PLANTED.get_or_init(|| std::env::var(NAME).ok()) else { return };
    if matches!(call, Call::Lock(Input::Enq { name, .. }) if name.as_bytes() == planted.as_bytes()) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGABRT);
    }
}

/// Nothing is planted outside of tests.
#[cfg(not(feature = "planted"))]
#[inline]
pub(super) fn may_abort(_: &Call<'_>) {}
