//! The protocol of Redis, as far as a lock needs it: commands out, replies in.

use bytes::BytesMut;

use super::Wrong;

/// One reply. An array is known by its end alone: what is in it does not matter to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// `+OK`.
    Simple(&'a [u8]),
    /// `-ERR`.
    Error(&'a [u8]),
    /// `:1`.
    Number(i64),
    /// Text, or several replies.
    Bulk(&'a [u8]),
    /// Nothing.
    Nil,
}

/// Puts a command behind what is there.
pub(crate) fn command(parts: &[&[u8]], out: &mut BytesMut) {
    length(b'*', parts.len(), out);
    for part in parts {
        length(b'$', part.len(), out);
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

fn length(mark: u8, length: usize, out: &mut BytesMut) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    let mut rest = length;
    loop {
        from -= 1;
        digits[from] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&[mark]);
    out.extend_from_slice(&digits[from..]);
    out.extend_from_slice(b"\r\n");
}

/// The reply at the front and its length, if it is all there.
pub(crate) fn reply(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Wrong> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let wrong = || Wrong::Nonsense(bytes[..=end].escape_ascii().to_string());
    let line = bytes[..end].strip_suffix(b"\r").ok_or_else(wrong)?;
    let (mark, rest) = line.split_first().ok_or_else(wrong)?;
    let number = || str::from_utf8(rest).ok().and_then(|text| text.parse::<i64>().ok()).ok_or_else(wrong);
    let after = end + 1;
    match mark {
        b'+' => Ok(Some((Reply::Simple(rest), after))),
        b'-' => Ok(Some((Reply::Error(rest), after))),
        b':' => Ok(Some((Reply::Number(number()?), after))),
        b'$' | b'*' if number()? == -1 => Ok(Some((Reply::Nil, after))),
        b'$' => {
            let len = usize::try_from(number()?).map_err(|_| wrong())?;
            let text = bytes.get(after..after + len + 2);
            Ok(text.map(|text| (Reply::Bulk(&text[..len]), after + len + 2)))
        }
        b'*' => {
            let mut at = after;
            for _ in 0..number()? {
                // An array in an array is nothing that a lock is answered with.
                if bytes.get(at) == Some(&b'*') {
                    return Err(wrong());
                }
                let Some((_, len)) = reply(&bytes[at..])? else { return Ok(None) };
                at += len;
            }
            Ok(Some((Reply::Bulk(&bytes[after..at]), at)))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_texts() {
        let mut out = BytesMut::new();
        command(&[b"SET", b"a", b"0123456789"], &mut out);
        assert_eq!(&out[..], b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$10\r\n0123456789\r\n");
    }

    #[test]
    fn replies_are_cut_where_they_end_and_not_before() {
        for (text, wanted) in [
            (&b"+OK\r\n"[..], Reply::Simple(b"OK")),
            (b"-ERR no\r\n", Reply::Error(b"ERR no")),
            (b":-7\r\n", Reply::Number(-7)),
            (b"$-1\r\n", Reply::Nil),
            (b"*-1\r\n", Reply::Nil),
            (b"$4\r\na\r\nb\r\n", Reply::Bulk(b"a\r\nb")),
            (b"*2\r\n$1\r\nq\r\n$1\r\nt\r\n", Reply::Bulk(b"$1\r\nq\r\n$1\r\nt\r\n")),
        ] {
            let longer = [text, b":1\r\n"].concat();
            assert_eq!(reply(&longer), Ok(Some((wanted, text.len()))));
            for len in 0..text.len() {
                assert_eq!(reply(&text[..len]), Ok(None), "{len} of {text:?}");
            }
        }
        for text in [&b"OK\r\n"[..], b"+OK\n", b":x\r\n", b"$-2\r\n", b"\r\n", b"*1\r\n*1\r\n:1\r\n"] {
            assert!(reply(text).is_err(), "{text:?}");
        }
    }
}
