//! A twin of the engine, to see what images lose: after each step the engine is thrown away and made anew of its image.
//!
//! Beside it goes a twin that has taken the same inputs and was never made anew. Both must say the same, ids included, and
//! have the same image, although their hash seeds differ; and the model must agree with them.

use crate::compare::Wrong;
use enq::engine::{
    Input, Instant, Local, Output, Planted, Shard,
    image::{Bad, Reader, Writer},
};

/// The engine as it is without images.
pub(crate) struct Twin {
    shard: Shard,
    local: Local,
}

impl Twin {
    pub(crate) fn new(shard: Shard, planted: Planted) -> Twin {
        let local = Local { hash_seed: 1, memory: usize::MAX, history: 16, planted };
        Twin { shard, local }
    }

    /// The other one has taken an input and said this; it goes on as what its image says.
    pub(crate) fn follow(
        &mut self,
        other: &mut Shard,
        now: Instant,
        input: Input<'_>,
        said: &[Output],
    ) -> Result<(), Wrong> {
        let mut outputs = Vec::new();
        self.shard.step(now, input, &mut outputs);
        if outputs != said {
            return Err(format!(
                "made of its image, it says\n    {said:?}\n  and otherwise\n    {outputs:?}"
            ));
        }
        let bytes = image(other);
        if image(&self.shard) != bytes {
            return Err("made of its image, it has another one by now".into());
        }
        self.local.hash_seed += 1;
        *other = taken(&bytes, &self.local).map_err(|wrong| format!("its own image is refused: {wrong}"))?;
        if image(other) != bytes {
            return Err("the image of what was made of an image is another one".into());
        }
        Ok(())
    }
}

/// The shard with this image and nothing behind it.
pub(crate) fn taken(bytes: &[u8], local: &Local) -> Result<Shard, Bad> {
    let mut from = Reader::new(bytes);
    let shard = Shard::from_image(&mut from, local)?;
    from.end()?;
    Ok(shard)
}

pub(crate) fn image(shard: &Shard) -> Vec<u8> {
    let mut to = Writer::default();
    shard.put_image(&mut to);
    to.into_bytes()
}
