//! Frames that are refused: a sample with one field changed, and what is said about it.

/// One such frame.
pub(crate) struct Refusal {
    /// The name of its vector.
    pub(crate) name: &'static str,
    /// The sample it was made of.
    pub(crate) of: &'static str,
    /// The field that was changed: the first of this name.
    pub(crate) field: &'static str,
    /// Its bytes now.
    pub(crate) bytes: &'static [u8],
    /// Class, status, and the error in full.
    pub(crate) says: &'static str,
}

macro_rules! refusals {
    ($($name:literal $of:literal $field:literal $bytes:literal $says:literal)+) => {
        /// All of them.
        pub(crate) const ALL: &[Refusal] =
            &[$(Refusal { name: $name, of: $of, field: $field, bytes: $bytes, says: $says }),+];
    };
}

#[rustfmt::skip]
refusals! {
    // the frame
    "length-0"                 "ping"     "length"   b"\0\0\0\0"         "C PROTOCOL frame: length at byte 0: 0 bytes are less than a header"
    "length-23"                "ping"     "length"   b"\x17\0\0\0"       "C PROTOCOL frame: length at byte 0: 23 bytes are less than a header"
    "length-65537"             "ping"     "length"   b"\x01\0\x01\0"     "C FRAME_TOO_LARGE frame: length at byte 0: 65537 bytes are more than 65536"
    "length-4294967295"        "ping"     "length"   b"\xff\xff\xff\xff" "C FRAME_TOO_LARGE frame: length at byte 0: 4294967295 bytes are more than 65536"
    "kind-unknown-request"     "close"    "kind"     b"\x7e"             "E UNSUPPORTED KIND-0x7e: kind at byte 4: this kind is not known here"
    "kind-unknown-look"        "ping"     "kind"     b"\x3e"             "E UNSUPPORTED KIND-0x3e: kind at byte 4: this kind is not known here"
    "kind-unknown"             "ping"     "kind"     b"\x0e"             "C UNSUPPORTED KIND-0x0e: kind at byte 4: this kind is not known here"
    "kind-lock-all"            "close"    "kind"     b"\x4c"             "E UNSUPPORTED LOCK_ALL: kind at byte 4: this kind is not known here"
    "kind-watch"               "ping"     "kind"     b"\x1f"             "E UNSUPPORTED WATCH: kind at byte 4: this kind is not known here"
    "kind-auth"                "ping"     "kind"     b"\x02"             "C UNSUPPORTED AUTH: kind at byte 4: this kind is not known here"
    "request-header-flags"     "close"    "flags"    b"\x80"             "E BADPARAM CLOSE: header flags at byte 5: must be 0, is 0x80"
    "request-header-reserved"  "close"    "reserved" b"\0\x01"           "E BADPARAM CLOSE: header reserved at byte 6: must be 0, is 0x100"
    "request-number-0"         "close"    "number"   b"\0\0\0\0\0\0\0\0" "C PROTOCOL CLOSE: number at byte 8: a numbered message has a number of 1 or more"
    "look-number-1"            "ping"     "number"   b"\x01\0\0\0\0\0\0\0" "E BADPARAM PING: number at byte 8: must be 0, is 0x1"
    "ack-header-flags"         "ack"      "flags"    b"\x01"             "C BADPARAM ACK: header flags at byte 5: must be 0, is 0x1"

    // the connection
    "hello-magic"              "hello"    "magic"    b"ENQ\x02"          "S PROTOCOL HELLO: magic at byte 24: these bytes are not this protocol"
    "hello-agent"              "hello"    "agent"    b"\x02\0\xc3\x28"   "C BADPARAM HELLO: agent at byte 43: the text is not UTF-8"
    "welcome-members"          "welcome"  "members"  b"\xff\xff"         "C MALFORMED WELCOME: members at byte 83: needs 131070 bytes, has 35"
    "acked-extensions"         "acked"    "extensions" b"\x04\0\x07\x80\0\0" "C UNSUPPORTED ACKED: extensions at byte 26: critical extension 7 is not known here"
    "error-text"               "error"    "text"     b"\xff\xff"         "C MALFORMED ERROR: text at byte 34: needs 65535 bytes, has 2"

    // looks
    "ping-tag"                 "ping"     "tag"      b"\0"               "C MALFORMED PING: tag at byte 24: needs 4 bytes, has 3"
    "ping-trailing"            "ping"     "extensions" b"\0\0\xaa"       "E MALFORMED PING: extensions at byte 30: 1 bytes too many"
    "renew-extensions"         "renew"    "extensions" b"\x06\0\x01\x80\x02\0hi" "E UNSUPPORTED RENEW: extensions at byte 30: critical extension 1 is not known here"
    "open-orphan-key"          "open"     "orphan_key" b"\x41\0kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk" "E LIMIT OPEN: orphan_key at byte 81: 65 bytes are more than 64"
    "open-bind-connection"     "open"     "bind_connection" b"\x02"      "E BADPARAM OPEN: bind_connection at byte 91: there is no choice 2"
    "resume-secret"            "resume"   "secret"   b"\0"               "E MALFORMED RESUME: secret at byte 36: needs 16 bytes, has 11"
    "show-lock-short"          "show-lock" "lock"    b"\0"               "E MALFORMED SHOW_LOCK: lock at byte 28: needs 8 bytes, has 3"
    "show-resource-no-path"    "show-resource" "path" b"\0\0"            "E BADNAME SHOW_RESOURCE: path at byte 32: a path has at least one name"
    "show-blockers-trailing"   "show-blockers" "extensions" b"\0\0\0\0"  "E MALFORMED SHOW_BLOCKERS: extensions at byte 38: 2 bytes too many"
    "show-blocked-header"      "show-blocked" "reserved" b"\x01\0"       "E BADPARAM SHOW_BLOCKED: header reserved at byte 6: must be 0, is 0x1"
    "show-page-max-0"          "show-page" "max"     b"\0\0\0\0"         "E LIMIT SHOW_PAGE: max at byte 37: 0 is outside the limits"
    "show-page-max-2001"       "show-page" "max"     b"\xd1\x07\0\0"     "E LIMIT SHOW_PAGE: max at byte 37: 2001 is outside the limits"
    "show-session-short"       "show-session" "session" b""              "E MALFORMED SHOW_SESSION: session at byte 28: needs 8 bytes, has 2"
    "show-sessions-after"      "show-sessions" "after" b"\x02"           "E BADPARAM SHOW_SESSIONS: after at byte 28: there is no choice 2"
    "show-spaces-trailing"     "show-spaces" "extensions" b"\0\0\0"      "E MALFORMED SHOW_SPACES: extensions at byte 30: 1 bytes too many"
    "open-space-no-name"       "open-space" "name"   b"\0\0"             "E BADNAME OPEN_SPACE: name at byte 28: a name has 1 to 255 bytes, all of them here; this says 0"
    "show-statistics-trailing" "show-statistics" "extensions" b"\0\0\0"  "E MALFORMED SHOW_STATISTICS: extensions at byte 30: 1 bytes too many"
    "check-token-deep"         "check-token" "path"  b"\x81\0"           "E TOODEEP CHECK_TOKEN: path at byte 32: 129 levels are more than 128"
    "show-deadlocks-max"       "show-deadlocks" "max" b"\x01\x01\0\0" "E LIMIT SHOW_DEADLOCKS: max at byte 37: 257 is outside the limits"
    "show-waits-max"           "show-waits" "max"    b"\x11\x27\0\0"   "E LIMIT SHOW_WAITS: max at byte 51: 10001 is outside the limits"
    "what-if-2"                "what-if-ended" "what" b"\x02"           "E BADPARAM WHAT_IF: what at byte 28: there is no choice 2"
    "show-history-nothing"     "show-history-session" "session" b"\0"       "E BADPARAM SHOW_HISTORY: session at byte 29: there is no choice 0"
    "show-history-max"         "show-history" "max" b"\xf5\x01\0\0"        "E LIMIT SHOW_HISTORY: max at byte 65: 501 is outside the limits"
    "scan-trailing"            "scan"     "extensions" b"\0\0\0"         "E MALFORMED SCAN: extensions at byte 30: 1 bytes too many"
    "expire-session-reason"    "expire-session" "reason" b"\x01\0\xff"   "E BADPARAM EXPIRE_SESSION: reason at byte 36: the text is not UTF-8"
    "force-release-reason"     "force-release" "reason" b"\xff\0"        "E MALFORMED FORCE_RELEASE: reason at byte 44: needs 255 bytes, has 2"
    "set-priority-short"       "set-priority" "priority" b""             "E MALFORMED SET_PRIORITY: extensions at byte 37: needs 2 bytes, has 1"

    // requests
    "enq-handle-0"             "enq"      "handle"   b"\0\0\0\0"         "E BADPARAM ENQ: handle at byte 24: a new lock needs a handle of 1 or more"
    "enq-mode-6"               "enq"      "mode"     b"\x06"             "E BADPARAM ENQ: mode at byte 36: there is no mode 6"
    "enq-owner-scope"          "enq"      "owner scope" b"\x01"          "E BADPARAM ENQ: owner scope at byte 41: must be 0, is 0x1"
    "enq-timeout-0"            "enq"      "timeout"  b"\0\0\0\0"         "E LIMIT ENQ: timeout at byte 50: 0 is outside the limits"
    "enq-name-empty"           "enq"      "name"     b"\0\0"             "E BADNAME ENQ: name at byte 55: a name has 1 to 255 bytes, all of them here; this says 0"
    "enq-name-cut"             "enq"      "name"     b"\x09\0db"         "E BADNAME ENQ: name at byte 55: a name has 1 to 255 bytes, all of them here; this says 9"
    "enq-extension-twice"      "enq"      "extensions" b"\x08\0\x02\0\0\0\x02\x80\0\0" "E MALFORMED ENQ: extensions at byte 65: extension 2 comes twice"
    "enq-extension-overrun"    "enq"      "extensions" b"\x06\0\x01\0\x03\0hi" "E MALFORMED ENQ: extensions at byte 61: needs 7 bytes, has 6"
    "enq-extension-range"      "enq"      "extensions" b"\x04\0\x03\x80\0\0" "E UNSUPPORTED ENQ: extensions at byte 61: critical extension 3 is not known here"
    "enq-extensions-overrun"   "enq"      "extensions" b"\x01\0"         "E MALFORMED ENQ: extensions at byte 59: needs 1 bytes, has 0"
    "enq-sublock-priority"     "enq-sublock" "priority" b"\0\0"          "E BADNAME ENQ: name at byte 55: a name has 1 to 255 bytes, all of them here; this says 1536"
    "enq-path-deep"            "enq-path" "path"     b"\x81\0"           "E TOODEEP ENQ_PATH: path at byte 47: 129 levels are more than 128"
    "enq-path-handle-0"        "enq-path" "path handle" b"\0\0\0\0"      "E BADPARAM ENQ_PATH: path handle at byte 49: a new lock needs a handle of 1 or more"
    "enq-path-name-empty"      "enq-path" "path name" b"\0\0"            "E BADNAME ENQ_PATH: path at byte 53: a name has 1 to 255 bytes, all of them here; this says 0"
    "convert-handle-0"         "convert"  "handle"   b"\0\0\0\0"         "E NOSUCHLOCK CONVERT: handle at byte 24: no lock has handle 0"
    "convert-value-cut"        "convert"  "value"    b"\x01\x09\0"       "E BADPARAM CONVERT: value at byte 39: the value's 9 bytes are not all here"
    "deq-handle-0"             "deq"      "handle"   b"\0\0\0\0"         "E NOSUCHLOCK DEQ: handle at byte 24: no lock has handle 0"
    "deq-all-trailing"         "deq-all"  "extensions" b"\0\0\0"         "E MALFORMED DEQ_ALL: extensions at byte 34: 1 bytes too many"
    "cancel-handle-0"          "cancel"   "handle"   b"\0\0\0\0"         "E NOSUCHLOCK CANCEL: handle at byte 24: no lock has handle 0"
    "adopt-handle-0"           "adopt"    "handle"   b"\0\0\0\0"         "E BADPARAM ADOPT: handle at byte 24: a new lock needs a handle of 1 or more"
    "adopt-orphan-key"         "adopt"    "orphan_key" b"\x41\0kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk" "E LIMIT ADOPT: orphan_key at byte 55: 65 bytes are more than 64"
    "adopt-name"               "adopt"    "name"     b"\0\0"             "E BADNAME ADOPT: name at byte 51: a name has 1 to 255 bytes, all of them here; this says 0"
    "purge-root"               "purge"    "root"     b"\x02"             "E BADPARAM PURGE: root at byte 28: there is no choice 2"
    "purge-orphan-key"         "purge"    "orphan_key" b"\x41\0kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk" "E LIMIT PURGE: orphan_key at byte 33: 65 bytes are more than 64"
    "create-space-value-len"   "create-space" "value_len_max" b"\x01\x04" "E LIMIT CREATE_SPACE: value_len_max at byte 33: 1025 is outside the limits"
    "create-space-modes"       "create-space" "modes" b"\x40"            "E BADPARAM CREATE_SPACE: modes at byte 45: there are no flags 0x40"
    "set-space-deadlock-wait"  "set-space" "deadlock_wait_ms" b"\x09\0\0\0" "E LIMIT SET_SPACE: deadlock_wait_ms at byte 40: 9 is outside the limits"
    "set-space-lock-delay"     "set-space" "lock_delay_ms" b"\x61\xea\0\0" "E LIMIT SET_SPACE: lock_delay_ms at byte 50: 60001 is outside the limits"
    "set-space-victim"         "set-space" "deadlock_victim" b"\x03"     "E BADPARAM SET_SPACE: deadlock_victim at byte 54: there is no choice 3"
    "set-space-conversion"     "set-space" "conversion_deadlock" b"\x02" "E BADPARAM SET_SPACE: conversion_deadlock at byte 39: there is no choice 2"
    "remove-space-force"       "remove-space" "force" b"\x02"            "E BADPARAM REMOVE_SPACE: force at byte 28: there is no choice 2"
    "close-trailing"           "close"    "extensions" b"\0\0\0"         "E MALFORMED CLOSE: extensions at byte 26: 1 bytes too many"

    // what a client cannot read
    "seen-done-trailing"       "seen-done" "extensions" b"\0\0\0"        "C MALFORMED SEEN_DONE: extensions at byte 30: 1 bytes too many"
    "seen-deadlocks-ring"      "seen-deadlocks" "ring" b"\x02"          "C BADPARAM SEEN_DEADLOCKS: ring at byte 46: there is no choice 2"
    "seen-waits-complete"      "seen-waits" "complete" b"\x02"         "C BADPARAM SEEN_WAITS: complete at byte 359: there is no choice 2"
    "seen-foreseen-mode"       "seen-foreseen" "mode" b"\x06"          "C BADPARAM SEEN_FORESEEN: mode at byte 158: there is no mode 6"
    "seen-history-happened"    "seen-history" "happened" b"\x0e"           "C BADPARAM SEEN_HISTORY: happened at byte 38: there is no choice 14"
    "seen-scanned-records"     "seen-scanned" "records" b"\x03\0"       "C MALFORMED SEEN_SCANNED: records at byte 40: needs 24 bytes, has 18"
    "seen-renewed-short"       "seen-renewed" "ttl_ms" b"\0"             "C MALFORMED SEEN_RENEWED: ttl_ms at byte 28: needs 4 bytes, has 3"
    "seen-opened-short"        "seen-opened" "secret" b"\0"              "C MALFORMED SEEN_OPENED: secret at byte 36: needs 16 bytes, has 7"
    "seen-resumed-short"       "seen-resumed" "ttl_ms" b""             "C MALFORMED SEEN_RESUMED: ttl_ms at byte 36: needs 4 bytes, has 2"
    "seen-lock-queue"          "seen-lock" "queue"   b"\x03"             "C BADPARAM SEEN_LOCK: queue at byte 76: there is no choice 3"
    "seen-resource-locks"      "seen-resource" "locks" b"\xff\xff"       "C MALFORMED SEEN_RESOURCE: locks at byte 59: needs 5242800 bytes, has 219"
    "seen-edges-why"           "seen-edges" "why"    b"\x02"             "C BADPARAM SEEN_EDGES: why at byte 158: there is no choice 2"
    "seen-page-locks"          "seen-page" "locks"   b"\x03\0"           "C MALFORMED SEEN_PAGE: locks at byte 28: needs 240 bytes, has 92"
    "seen-sessions-bound"      "seen-sessions" "bound" b"\x02"           "C BADPARAM SEEN_SESSIONS: bound at byte 108: there is no choice 2"
    "seen-spaces-count"        "seen-spaces" "spaces" b"\x02\0"          "C MALFORMED SEEN_SPACES: spaces at byte 28: needs 98 bytes, has 58"
    "seen-statistics-count"    "seen-statistics" "counters" b"\xff\xff"  "C MALFORMED SEEN_STATISTICS: counters at byte 156: needs 655350 bytes, has 79"
    "seen-token-live"          "seen-token" "live"   b"\x02"             "C BADPARAM SEEN_TOKEN: live at byte 28: there is no choice 2"
    "seen-refused-short"       "seen-refused" "status" b""               "C MALFORMED SEEN_REFUSED: extensions at byte 30: needs 2 bytes, has 0"
    "granted-handle-0"         "granted"  "handle"   b"\0\0\0\0"         "C NOSUCHLOCK GRANTED: handle at byte 40: no lock has handle 0"
    "granted-outcome"          "granted"  "outcome"  b"\x20"             "C BADPARAM GRANTED: outcome at byte 53: there are no flags 0x20"
    "path-granted-levels"      "path-granted" "levels" b"\0\0"           "C BADNAME PATH_GRANTED: levels at byte 70: a path has at least one name"
    "queued-number-0"          "queued"   "number"   b"\0\0\0\0\0\0\0\0" "C PROTOCOL QUEUED: number at byte 8: a numbered message has a number of 1 or more"
    "done-short"               "done"     "status"   b""                 "C MALFORMED DONE: extensions at byte 42: needs 2 bytes, has 0"
    "purged-short"             "purged"   "released" b"\0\0\0\0"         "C MALFORMED PURGED: released at byte 40: needs 8 bytes, has 6"
    "refused-blocker"          "refused"  "blocker"  b"\x02"             "C BADPARAM REFUSED: blocker at byte 42: there is no choice 2"
    "space-changed"            "space"    "changed"  b"\x02"             "C BADPARAM SPACE: changed at byte 96: there is no choice 2"
    "granted-later-mode"       "granted-later" "mode" b"\x06"            "C BADPARAM GRANTED_LATER: mode at byte 44: there is no mode 6"
    "path-granted-later-deep"  "path-granted-later" "levels" b"\x81\0"   "C TOODEEP PATH_GRANTED_LATER: levels at byte 62: 129 levels are more than 128"
    "ended-holds"              "ended"    "holds"    b"\x06"             "C BADPARAM ENDED: holds at byte 38: there is no mode 6"
    "demoted-short"            "demoted"  "handle"   b"\x01\0"           "C MALFORMED DEMOTED: extensions at byte 36: needs 2 bytes, has 0"
    "revoked-reason"           "revoked"  "reason"   b"\x02\0\xc3\x28"   "C BADPARAM REVOKED: reason at byte 46: the text is not UTF-8"
    "blocking-number-1"        "blocking" "number"   b"\x01\0\0\0\0\0\0\0" "C BADPARAM BLOCKING: number at byte 8: must be 0, is 0x1"
}
