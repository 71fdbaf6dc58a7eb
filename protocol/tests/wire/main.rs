//! The bytes of every message: what is written is read again, and what is broken is refused.

mod said;
mod samples;

use said::{Said, frame};

#[test]
fn what_is_written_is_read_again() {
    for (name, said) in samples::all() {
        let bytes = said.bytes().unwrap();
        assert_eq!(Said::read(&frame(&bytes)), Ok(said), "{name}");
    }
}
