//! `enq force-release`: the last resort. The holder is told, the server's log says who and why, and the value block
//! becomes not valid after PW or EX. What the holder does in the meantime is a matter of fences.

use enq_protocol::vocabulary::Seq;

use super::{
    args::{ForceRelease, Reach},
    ask,
    exit::Failure,
};

/// Takes the lock away, if its last grant is still the one that was seen.
pub(super) async fn force_release(reach: &Reach, release: &ForceRelease) -> Result<(), Failure> {
    let client = ask::client(reach).await?;
    let released = client.force_release(release.id, Seq(release.token), release.reason.as_str());
    ask::within(reach, released).await.map_err(|failure| failure.about(release.id))
}
