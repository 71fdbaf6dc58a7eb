//! Every status there is: number, name, its relatives in VMS and Linux, exit code of the command, sentence.
//!
//! This table is the one of `PROTOCOL.md`; a test compares them. A number is never used again for another meaning,
//! and a number that a client does not know survives decoding and prints as a number.

use core::fmt;

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRow {
    /// The number on the wire.
    pub number: u16,
    /// The word of the text form.
    pub name: &'static str,
    /// What VMS says, or `-`.
    pub vms: &'static str,
    /// What Linux says, or `-`.
    pub linux: &'static str,
    /// The exit code of `enq` when this ends it.
    pub exit: u8,
    /// What it means.
    pub sentence: &'static str,
}

/// How something ended, or why it was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(pub u16);

macro_rules! statuses {
    ($($constant:ident $number:literal $name:literal $vms:literal $linux:literal $exit:literal $sentence:literal)+) => {
        #[allow(non_upper_case_globals, reason = "a status is spelled as in the table, like a variant")]
        impl Status {
            $(#[doc = $sentence] pub const $constant: Status = Status($number);)+

            /// The whole table, by number.
            pub const TABLE: &'static [StatusRow] = &[$(
                StatusRow {
                    number: $number, name: $name, vms: $vms, linux: $linux, exit: $exit, sentence: $sentence,
                },
            )+];
        }
    };
}

#[rustfmt::skip]
statuses! {
    // constant          no.  name                VMS             Linux         exit  sentence
    Done                 0   "DONE"              "NORMAL"        "0"             0   "the call did what it says"
    Granted              1   "GRANTED"           "NORMAL"        "0"             0   "the lock is granted in the mode that is named"
    Queued               2   "QUEUED"            "NORMAL"        "EINPROGRESS"   0   "the request waits; its completion comes later"
    Released             3   "RELEASED"          "NORMAL"        "EUNLOCK"       0   "the lock is gone"

    NotQueued           10   "NOTQUEUED"         "NOTQUEUED"     "EAGAIN"       75   "it cannot be granted now and must not wait"
    Deadlock            11   "DEADLOCK"          "DEADLOCK"      "EDEADLK"      79   "it was refused to break a deadlock"
    Cancelled           12   "CANCELLED"         "CANCEL"        "ECANCEL"      75   "the request was withdrawn by a cancel"
    Aborted             13   "ABORTED"           "ABORT"         "EUNLOCK"      75   "the lock was released under the request"
    Timeout             14   "TIMEOUT"           "-"             "ETIMEDOUT"    75   "the time it was willing to wait has passed"
    CancelGrant         15   "CANCELGRANT"       "CANCELGRANT"   "0"             0   "nothing to cancel: the lock is granted"
    Forced              16   "FORCED"            "-"             "-"            76   "an administrator ended it"

    NotGranted          30   "NOTGRANTED"        "CVTUNGRANT"    "EBUSY"        70   "only a granted lock that is not converting can be converted"
    ParentNotGranted    31   "PARENTNOTGRANTED"  "PARNOTGRANT"   "-"            70   "the parent lock is not granted yet"
    HasSublocks         32   "HASSUBLOCKS"       "SUBLOCKS"      "ENOTEMPTY"    70   "the lock has sublocks; release them first"
    TooDeep             33   "TOODEEP"           "EXDEPTH"       "-"            64   "the tree would be deeper than 127 levels below its root"
    NoSuchLock          34   "NOSUCHLOCK"        "IVLOCKID"      "ENOENT"       70   "this session has no such lock"
    Quota               35   "QUOTA"             "EXENQLM"       "-"            77   "the session has as many locks as it may have"
    BadParam            36   "BADPARAM"          "BADPARAM"      "EINVAL"       64   "a mode, flag or value that this call does not take"
    BadName             37   "BADNAME"           "IVBUFLEN"      "EINVAL"       64   "a name has 1 to 255 bytes"
    Denied              38   "DENIED"            "NOPRIV"        "EPERM"        77   "an access rule or the lockspace's policy forbids it"
    NoSpace             39   "NOSPACE"           "INSFMEM"       "ENOMEM"       77   "the server is out of room for new locks"
    Recovering          40   "RECOVERING"        "-"             "EAGAIN"       75   "the server waits for leases of before its restart to end"
    NoSuchSpace         41   "NOSUCHSPACE"       "NODOMAIN"      "EINVAL"       64   "there is no such lockspace"
    ResourceExhausted   42   "RESOURCE_EXHAUSTED" "EXQUOTA"      "ENOMEM"       77   "no room: too many wait, the memory is used up, or the disk is full"
    SpaceExists         43   "SPACEEXISTS"       "-"             "EEXIST"       64   "the lockspace exists already"
    SpaceInUse          44   "SPACEINUSE"        "-"             "EBUSY"        70   "the lockspace has locks"
    Limit               45   "LIMIT"             "-"             "EINVAL"       64   "a number outside its limits"
    Unsupported         46   "UNSUPPORTED"       "UNSUPPORTED"   "EOPNOTSUPP"   70   "this server does not know that"
    Malformed           47   "MALFORMED"         "BADPARAM"      "EBADMSG"      70   "the bytes are not what the message must be"
    NoSuchSession       48   "NOSUCHSESSION"     "NONEXPR"       "ESRCH"        70   "there is no such session"
    Changed             49   "CHANGED"           "-"             "ESTALE"       75   "it is no longer what the caller saw; look again"
    NotLeader           50   "NOT_LEADER"        "-"             "ENOTBLK"      69   "another server leads the cluster"
    Unavailable         51   "UNAVAILABLE"       "-"             "EAGAIN"       69   "the server cannot answer now"
    WrongLog            52   "WRONG_LOG"         "-"             "EXDEV"        64   "the lockspace belongs to another log than the session"
    NoSuchOrphan        53   "NOSUCHORPHAN"      "-"             "ENOENT"       70   "there is no orphan of that name"
    WrongMode           54   "WRONGMODE"         "-"             "EAGAIN"       70   "the orphan is held in another mode"

    Protocol            80   "PROTOCOL"          "-"             "EPROTO"       70   "these bytes are not this protocol"
    Version             81   "VERSION"           "-"             "EBADE"        70   "no protocol version in common"
    FrameTooLarge       82   "FRAME_TOO_LARGE"   "-"             "EMSGSIZE"     70   "a frame above the limit"
    State               83   "STATE"             "-"             "EPROTO"       70   "this message may not be said now"
    Flow                84   "FLOW"              "-"             "ENOBUFS"      70   "more was sent than the window allows"
    Session             85   "SESSION"           "-"             "EACCES"       76   "no session opens with these credentials"
    Superseded          86   "SUPERSEDED"        "-"             "EPIPE"        76   "a newer connection took the session over"
    Misordered          87   "MISORDERED"        "-"             "EPROTO"       76   "a request number was left out"
    FalseRetry          88   "FALSE_RETRY"       "-"             "EPROTO"       76   "a request number was used again for another request"
    AckRange            89   "ACK_RANGE"         "-"             "EPROTO"       76   "an acknowledgement of what was never sent"
    SessionLost         90   "SESSION_LOST"      "ABORT"         "ENOTCONN"     76   "the session has ended and its locks with it"
    Shutdown            91   "SHUTDOWN"          "-"             "ESHUTDOWN"    69   "the server is stopping"
    TooSlow             92   "TOO_SLOW"          "-"             "ENOBUFS"      76   "the client did not read what it was sent"
}

impl Status {
    /// Its line in the table, if this version knows it.
    #[must_use]
    pub fn row(self) -> Option<&'static StatusRow> {
        Self::TABLE.binary_search_by_key(&self.0, |row| row.number).ok().and_then(|at| Self::TABLE.get(at))
    }

    /// What it means; empty for a number this version does not know.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        self.row().map_or("", |row| row.sentence)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row() {
            Some(row) => f.pad(row.name),
            None => write!(f, "STATUS-{}", self.0),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_table_is_sorted_and_unknown_numbers_print_as_numbers() {
        assert!(Status::TABLE.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!(Status::NotQueued.to_string(), "NOTQUEUED");
        assert_eq!(Status(999).to_string(), "STATUS-999");
    }
}
