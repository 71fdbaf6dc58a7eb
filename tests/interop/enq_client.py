"""A small client library for the enq lock protocol, version 1.

It has two halves. The *codec* turns messages into frames and frames into messages; it is a table of layouts, one line a
message, copied from the protocol document. `encode` packs whatever it is given, so that a test can say wrong things;
`decode` judges every field and raises FrameError with the status that a wrong one deserves.

The *client* is a Connection (greeting, looks) and a Session on it (numbered requests, answers, events, notices, lease).
It is single-threaded: nothing is read from the socket until somebody waits for something, and every wait has a timeout.
A program that holds locks for long must therefore call in, at the latest every third of its lease, with `renew`.

Only the standard library is used.
"""

import enum
import os
import socket
import struct
import time
from types import SimpleNamespace

MAGIC = b"ENQ\x01"
HEADER = struct.Struct("<IBBHQQ")  # length, kind, flags, reserved, number, ack
FRAME_LEN_MAX = 65536
FOREVER = 0xFFFFFFFF  # as a timeout: wait without limit
NO_PLACE = 0xFFFFFFFFFFFFFFFF  # as a place: no shard had to do with it
REASON = 1  # extension: why a lock is asked for
CRITICAL = 0x8000  # bit of an extension's type


# --- Names for numbers ----------------------------------------------------------------------------------------------


class Status(enum.IntEnum):
    """Why something ended or was refused. Numbers that are not known are kept, under a name made from the number."""

    DONE = 0
    GRANTED = 1
    QUEUED = 2
    RELEASED = 3
    NOTQUEUED = 10
    DEADLOCK = 11
    CANCELLED = 12
    ABORTED = 13
    TIMEOUT = 14
    CANCELGRANT = 15
    FORCED = 16
    NOTGRANTED = 30
    PARENTNOTGRANTED = 31
    HASSUBLOCKS = 32
    TOODEEP = 33
    NOSUCHLOCK = 34
    QUOTA = 35
    BADPARAM = 36
    BADNAME = 37
    DENIED = 38
    NOSPACE = 39
    RECOVERING = 40
    NOSUCHSPACE = 41
    RESOURCE_EXHAUSTED = 42
    SPACEEXISTS = 43
    SPACEINUSE = 44
    LIMIT = 45
    UNSUPPORTED = 46
    MALFORMED = 47
    NOSUCHSESSION = 48
    CHANGED = 49
    NOT_LEADER = 50
    UNAVAILABLE = 51
    WRONG_LOG = 52
    NOSUCHORPHAN = 53
    WRONGMODE = 54
    PROTOCOL = 80
    VERSION = 81
    FRAME_TOO_LARGE = 82
    STATE = 83
    FLOW = 84
    SESSION = 85
    SUPERSEDED = 86
    MISORDERED = 87
    FALSE_RETRY = 88
    ACK_RANGE = 89
    SESSION_LOST = 90
    SHUTDOWN = 91
    TOO_SLOW = 92

    @classmethod
    def _missing_(cls, number):
        unknown = int.__new__(cls, number)
        unknown._name_ = f"STATUS_{number}"
        unknown._value_ = number
        return unknown


class Mode(enum.IntEnum):
    """The six lock modes, and NONE where there may be none."""

    NL = 0
    CR = 1
    CW = 2
    PR = 3
    PW = 4
    EX = 5
    NONE = 255


class Flag(enum.IntFlag):
    """The flags of lock requests."""

    NOQUEUE = 0x1
    VALBLK = 0x8
    QUECVT = 0x10
    IVVALBLK = 0x20
    CONVDEADLK = 0x40
    PERSISTENT = 0x80
    NODLCKWT = 0x100
    NODLCKBLK = 0x200
    EXPEDITE = 0x400
    NOQUEUEBAST = 0x800
    HEADQUE = 0x1000
    NOORDER = 0x2000
    ALTPR = 0x8000
    ALTCW = 0x10000
    FORCEUNLOCK = 0x20000
    SYNCSTS = 0x100000
    BLKAST = 0x200000
    NOACK = 0x400000
    PATH = 0x800000


class Outcome(enum.IntFlag):
    """What a grant says about itself."""

    SYNC = 1
    ALTMODE = 2
    DEMOTED = 4
    STORED = 8
    VALUE = 16


F = Flag
BOTH_FLAGS = (
    F.NOQUEUE | F.VALBLK | F.PERSISTENT | F.NODLCKWT | F.NODLCKBLK | F.NOQUEUEBAST | F.HEADQUE | F.NOORDER | F.ALTPR
    | F.ALTCW | F.SYNCSTS | F.BLKAST
)
ENQ_FLAGS = BOTH_FLAGS | F.EXPEDITE
CONVERT_FLAGS = BOTH_FLAGS | F.QUECVT | F.IVVALBLK | F.CONVDEADLK
DEQ_FLAGS = F.VALBLK | F.IVVALBLK | F.FORCEUNLOCK | F.NOACK | F.PATH
DEQ_ALL_FLAGS = F.IVVALBLK
ADOPT_FLAGS = F.VALBLK | F.PERSISTENT | F.NODLCKBLK | F.SYNCSTS | F.BLKAST


# --- Errors ---------------------------------------------------------------------------------------------------------


class EnqError(Exception):
    """Anything that goes wrong between this client and the server."""


class FrameError(EnqError):
    """Bytes that are not what the message must be, and the status such bytes are refused with."""

    def __init__(self, status, text):
        super().__init__(f"{status.name}: {text}")
        self.status = status


class ServerError(EnqError):
    """The server said ERROR: the connection ends."""

    def __init__(self, message):
        super().__init__(f"{message.status.name}: {message.text}")
        self.status = message.status


class LookRefused(EnqError):
    """A look was answered SEEN_REFUSED."""

    def __init__(self, look, status):
        super().__init__(f"{look} was refused: {status.name}")
        self.status = status


class ConnectionLost(EnqError):
    """The server closed the connection."""


class WindowFull(EnqError):
    """More requests at a time than the server's window allows; read some answers first."""


# --- Types: each can read itself from a Reader, and write a value as bytes -----------------------------------------


class Reader:
    """The bytes of a frame and how far they have been read."""

    def __init__(self, data, position=0):
        self.data = data
        self.position = position

    def left(self):
        return len(self.data) - self.position

    def take(self, count, cut=Status.MALFORMED):
        if count > self.left():
            raise FrameError(cut, f"at byte {self.position}: needs {count} bytes, has {self.left()}")
        self.position += count
        return self.data[self.position - count : self.position]


class Number:
    """An unsigned number of `size` bytes; `allow` judges its value, `wrong` is the status of a value it rejects."""

    def __init__(self, size, make=int, allow=lambda number: True, wrong=Status.BADPARAM):
        self.size, self.make, self.allow, self.wrong = size, make, allow, wrong
        self.least = size

    def read(self, reader):
        position = reader.position
        number = int.from_bytes(reader.take(self.size), "little")
        if not self.allow(number):
            raise FrameError(self.wrong, f"at byte {position}: {number} is not allowed")
        return self.make(number)

    def write(self, value):
        return int(value).to_bytes(self.size, "little")


class Raw:
    """A fixed number of bytes."""

    def __init__(self, size, must_be=None):
        self.size, self.must_be = size, must_be
        self.least = size

    def read(self, reader):
        data = reader.take(self.size)
        if self.must_be not in (None, data):
            raise FrameError(Status.PROTOCOL, "these bytes are not this protocol")
        return data

    def write(self, value):
        return bytes(value)


class Bytes:
    """A u16 length and so many bytes."""

    def __init__(self, low=0, high=0xFFFF, wrong=Status.LIMIT, cut=Status.MALFORMED):
        self.low, self.high, self.wrong, self.cut = low, high, wrong, cut
        self.least = 2 + low

    def read(self, reader):
        position = reader.position
        length = int.from_bytes(reader.take(2, self.cut), "little")
        if not self.low <= length <= self.high:
            raise FrameError(self.wrong, f"at byte {position}: a length of {length}")
        return reader.take(length, self.cut)

    def write(self, value):
        return len(value).to_bytes(2, "little") + bytes(value)


class Text(Bytes):
    """Bytes that are UTF-8."""

    def read(self, reader):
        try:
            return super().read(reader).decode("utf-8")
        except UnicodeDecodeError:
            raise FrameError(Status.BADPARAM, "the text is not UTF-8") from None

    def write(self, value):
        return super().write(value.encode("utf-8"))


class Option:
    """A bool, and a value if it is 1; None if it is 0."""

    least = 1

    def __init__(self, inner):
        self.inner = inner

    def read(self, reader):
        return self.inner.read(reader) if BOOL.read(reader) else None

    def write(self, value):
        return b"\0" if value is None else b"\1" + self.inner.write(value)


class List:
    """A u16 count and so many values. A count that cannot fit into what is left is refused before any value is read."""

    def __init__(self, inner, low=0, high=0xFFFF):
        self.inner, self.low, self.high = inner, low, high
        self.least = 2 + low * inner.least

    def read(self, reader):
        count = int.from_bytes(reader.take(2), "little")
        if count < self.low:
            raise FrameError(Status.BADNAME, "a path has at least one name")
        if count > self.high:
            raise FrameError(Status.TOODEEP, f"{count} levels are more than {self.high}")
        if count * self.inner.least > reader.left():
            raise FrameError(Status.MALFORMED, f"{count} values do not fit into {reader.left()} bytes")
        return [self.inner.read(reader) for _ in range(count)]

    def write(self, value):
        return len(value).to_bytes(2, "little") + b"".join(map(self.inner.write, value))


class Record:
    """Named fields, one after the other."""

    def __init__(self, layout):
        self.fields = [(name, TYPES[kind]) for name, kind in (field.split(":") for field in layout.split())]
        self.least = sum(kind.least for _, kind in self.fields)

    def read(self, reader):
        return SimpleNamespace(**{name: kind.read(reader) for name, kind in self.fields})

    def write(self, value):
        return b"".join(kind.write(getattr(value, name)) for name, kind in self.fields)


class Grant(Record):
    """A grant: its value block is there only if the outcome says so, and None otherwise."""

    def read(self, reader):
        grant = super().read(reader)
        grant.value = TYPES["value_block"].read(reader) if grant.outcome & Outcome.VALUE else None
        return grant

    def write(self, value):
        block = TYPES["value_block"].write(value.value) if value.outcome & Outcome.VALUE else b""
        return super().write(value) + block


def choice(highest, make=int):
    return Number(1, make, lambda number: number <= highest)


def between(size, low, high):
    return Number(size, allow=lambda number: low <= number <= high, wrong=Status.LIMIT)


def flags(allowed):
    return Number(4, Flag, lambda number: not number & ~allowed)


def handle(wrong):
    return Number(4, allow=bool, wrong=wrong)


BOOL = choice(1, bool)
U32, U64 = Number(4), Number(8)
NAME = Bytes(1, 255, Status.BADNAME, Status.BADNAME)

TYPES = {
    "u8": Number(1),
    "u16": Number(2),
    "u32": U32,
    "u64": U64,
    "u64s": List(U64),
    "bool": BOOL,
    "magic": Raw(4, MAGIC),
    "secret": Raw(16),
    "bytes": Bytes(),
    "credentials": Bytes(high=2048),
    "orphan_key": Bytes(high=64),
    "prefix": Bytes(high=255),
    "text": Text(),
    "text255": Text(high=255),
    "text256": Text(high=256),
    "texts": List(Text()),
    "name": NAME,
    "path": List(NAME, 1, 128),
    "option_u8": Option(choice(2)),
    "option_u32": Option(U32),
    "option_u64": Option(U64),
    "option_name": Option(NAME),
    "value_to_store": Option(Bytes(cut=Status.BADPARAM)),
    "mode": choice(5, Mode),
    "mode_or_none": Number(1, Mode, lambda number: number <= 5 or number == 255),
    "modes": choice(0x3F),
    "queue": choice(2),
    "status": Number(2, Status),
    "scope": choice(0),
    "log": Number(1),
    "outcome": choice(0x1F, Outcome),
    "new_handle": handle(Status.BADPARAM),
    "handle": handle(Status.NOSUCHLOCK),
    "timeout": between(4, 1, FOREVER),
    "lock_max": between(4, 1, 2000),
    "session_max": between(4, 1, 200),
    "deadlock_max": between(4, 1, 256),
    "wait_max": between(4, 1, 10_000),
    "history_max": between(4, 1, 500),
    "value_len": between(2, 0, 1024),
    "deadlock_wait": Number(4, allow=lambda number: number == 0 or 10 <= number <= 3_600_000, wrong=Status.LIMIT),
    "lock_delay": between(4, 0, 60_000),
    "adopt_flags": flags(ADOPT_FLAGS),
    "enq_flags": flags(ENQ_FLAGS),
    "convert_flags": flags(CONVERT_FLAGS),
    "deq_flags": flags(DEQ_FLAGS),
    "deq_all_flags": flags(DEQ_ALL_FLAGS),
    "no_flags": flags(0),
    "view_flags": Number(4, Flag),
    "why": choice(1),
    "happened": choice(13),
    "victim": choice(2),
}

# Types made of fields. Those further down use those further up; a plural is a list of the type.
RECORDS = {
    "owner": "scope:scope token:u64",
    "path_entry": "handle:new_handle name:name",
    "value_block": "seq:u64 valid:bool data:bytes",
    "level": "handle:handle lock:u64 mode:mode made:bool",
    "grant": "handle:handle lock:u64 mode:mode outcome:outcome seq:u64 fence:u64",
    "policy": "value_len_max:value_len fair:bool conversion_deadlock:why deadlock_wait_ms:deadlock_wait wait_ms_max:u32"
    " modes:modes reason_required:bool lock_delay_ms:lock_delay deadlock_victim:victim",
    "space_view": "lockspace:u32 name:name version:u64 policy:policy locks:u64 resources:u64",
    "lock_filter": "lockspace:option_u32 prefix:prefix root:option_name queue:option_u8 session:option_u64 orphans:bool"
    " older_than_ms:u64",
    "lock_view": "lock:u64 session:option_u64 handle:u32 owner:owner lockspace:u32 path:path queue:queue"
    " granted:mode_or_none requested:mode_or_none seq:u64 fence:u64 stamp:u64 age_ms:u64 timeout_ms:option_u64"
    " pause_ms:option_u64 parent:option_u64 sublocks:u32 flags:view_flags priority:u8 reason:bytes",
    "resource_view": "lockspace:u32 path:path value:value_block locks:lock_views lock_count:u32 subresources:u32",
    "edge": "lock:lock_view why:why",
    "counter": "name:text value:u64",
    "session_view": "session:u64 name:text purpose:text host:text pid:u32 peer:text ttl_ms:u32 lease_left_ms:u64"
    " age_ms:u64 locks:u32 waiting:u32 bound:bool",
    "wait": "waiting:lock_view blocker:lock_view why:why",
    "standing": "lock:lock_view position:u32 queued:u32",
    "wait_line": "lock:u64 blocker:u64 why:why deadlock:u32",
    "foreseen_grant": "lock:lock_view mode:mode after_ms:u64",
    "deadlock": "number:u64 age_ms:u64 ring:bool wait_count:u32 waits:waits sessions:session_views"
    " refused:option_u64",
    "resource_place": "lockspace:u32 path:path",
    "history_cursor": "at:u64 entry:u64",
    "history_entry": "age_ms:u64 happened:happened status:status lock:option_u64 session:option_u64 lockspace:u32"
    " path:path cut:bool held:mode_or_none mode:mode_or_none seq:u64 fence:u64 waited_ms:u32 detail:u64",
    "past_session": "session:u64 name:text purpose:text host:text pid:u32 age_ms:u64 ended_ms:option_u64 died:bool",
}
for record_name, record_layout in RECORDS.items():
    TYPES[record_name] = (Grant if record_name == "grant" else Record)(record_layout)
    TYPES[record_name + "s"] = List(TYPES[record_name])
for record_name in ("resource_place", "history_cursor"):
    TYPES["option_" + record_name] = Option(TYPES[record_name])
TYPES["history_entries"] = List(TYPES["history_entry"])
TYPES["path_entries"] = List(TYPES["path_entry"], 1, 128)
TYPES["levels"] = List(TYPES["level"], 1, 128)


# --- Messages -------------------------------------------------------------------------------------------------------

LAYOUTS = """
0x01 HELLO magic:magic version_min:u16 version_max:u16 features:u64 method:u8 credentials:credentials agent:text255
0x04 ACK
0x10 PING tag:u32
0x11 RENEW tag:u32
0x12 OPEN tag:u32 name:text255 purpose:text255 node:text255 node_id:u32 host:text255 pid:u32 process_start:u64 \
    ttl_ms:u32 orphan_key:orphan_key log:log bind_connection:bool
0x13 SHOW_LOCK tag:u32 lock:u64
0x14 SHOW_RESOURCE tag:u32 lockspace:u32 path:path
0x15 SHOW_BLOCKERS tag:u32 lock:u64
0x16 SHOW_BLOCKED tag:u32 lock:u64
0x17 SHOW_PAGE tag:u32 start:option_u64 max:lock_max filter:lock_filter
0x18 SHOW_SESSION tag:u32 session:u64
0x19 SHOW_SESSIONS tag:u32 after:option_u64 max:session_max
0x1A SHOW_SPACES tag:u32
0x1B OPEN_SPACE tag:u32 name:name
0x1C SHOW_STATISTICS tag:u32
0x1D CHECK_TOKEN tag:u32 lockspace:u32 path:path seq:u64
0x1E SHOW_DEADLOCKS tag:u32 before:option_u64 max:deadlock_max
0x20 EXPIRE_SESSION tag:u32 session:u64 reason:text256
0x21 FORCE_RELEASE tag:u32 lock:u64 version:u64 reason:text256
0x22 SET_PRIORITY tag:u32 lock:u64 priority:u8
0x24 SCAN tag:u32
0x25 RESUME tag:u32 session:u64 secret:secret received:u64
0x26 SHOW_WAITS tag:u32 lockspace:option_u32 lock:option_u64 session:option_u64 max:wait_max
0x27 WHAT_IF tag:u32 what:why id:u64
0x28 SHOW_HISTORY tag:u32 resource:option_resource_place session:option_u64 before:option_history_cursor \
    max:history_max
0x40 ENQ handle:new_handle lockspace:u32 parent:u32 mode:mode flags:enq_flags owner:owner timeout:timeout priority:u8 \
    name:name
0x41 ENQ_PATH lockspace:u32 mode:mode flags:enq_flags owner:owner timeout:timeout priority:u8 path:path_entries
0x42 CONVERT handle:handle mode:mode flags:convert_flags timeout:timeout priority:u8 value:value_to_store
0x43 DEQ handle:handle flags:deq_flags value:value_to_store
0x44 DEQ_ALL under:u32 flags:deq_all_flags
0x45 CANCEL handle:handle flags:no_flags
0x46 CREATE_SPACE name:name policy:policy exclusive:bool
0x47 SET_SPACE lockspace:u32 version:u64 policy:policy
0x48 REMOVE_SPACE lockspace:u32 force:bool
0x49 CLOSE
0x4A ADOPT handle:new_handle lockspace:u32 parent:u32 mode:mode flags:adopt_flags owner:owner priority:u8 name:name \
    orphan_key:orphan_key
0x4B PURGE lockspace:u32 root:option_name orphan_key:orphan_key
0x81 WELCOME version:u16 features:u64 frame_len_max:u32 window_requests:u32 window_bytes:u32 locks_max:u32 \
    waiting_max:u32 ttl_min_ms:u32 ttl_max_ms:u32 server:text role:u8 leader:text members:texts log:log \
    unsafe_settings:texts
0x84 ACKED
0x90 SEEN_DONE tag:u32
0x91 SEEN_RENEWED tag:u32 ttl_ms:u32
0x92 SEEN_OPENED tag:u32 session:u64 secret:secret ttl_ms:u32
0x93 SEEN_LOCK tag:u32 lock:lock_view
0x94 SEEN_RESOURCE tag:u32 resource:resource_view sessions:session_views
0x95 SEEN_EDGES tag:u32 edges:edges total:u32 sessions:session_views
0x96 SEEN_PAGE tag:u32 locks:lock_views next:option_u64
0x97 SEEN_SESSIONS tag:u32 sessions:session_views more:bool
0x98 SEEN_SPACES tag:u32 spaces:space_views
0x99 SEEN_STATISTICS tag:u32 enq_new:u64 enq_converted:u64 deq:u64 blocking_ast:u64 enq_forced_to_wait:u64 \
    enq_not_queued:u64 deadlock_search:u64 deadlock_find:u64 timeouts:u64 locks:u64 resources:u64 converting:u64 \
    waiting:u64 sessions:u64 delayed:u64 recovering_ms:u64 counters:counters
0x9A SEEN_TOKEN tag:u32 live:bool
0x9B SEEN_RESUMED tag:u32 executed:u64 ttl_ms:u32
0x9C SEEN_DEADLOCKS tag:u32 deadlocks:deadlocks more:bool
0x9D SEEN_SCANNED tag:u32 locks:u64 found:u32 records:u64s
0x9E SEEN_WAITS tag:u32 locks:standings sessions:session_views waits:wait_lines complete:bool
0x9F SEEN_REFUSED tag:u32 status:status
0xA0 SEEN_FORESEEN tag:u32 grants:foreseen_grants total:u32 sessions:session_views looked_at:u32 complete:bool
0xA1 SEEN_HISTORY tag:u32 entries:history_entries next:option_history_cursor complete_ms:u64 since_start:bool \
    sessions:past_sessions
0xC0 GRANTED request:u64 place:u64 grant:grant
0xC1 PATH_GRANTED request:u64 place:u64 leaf:grant levels:levels
0xC2 QUEUED request:u64 place:u64 handle:handle lock:u64
0xC3 DONE request:u64 place:u64 status:status
0xC4 REFUSED request:u64 place:u64 status:status blocker:option_u64 detail:u32
0xC5 SPACE request:u64 place:u64 space:space_view changed:bool
0xC6 PURGED request:u64 place:u64 released:u64
0xD0 GRANTED_LATER place:u64 grant:grant
0xD1 PATH_GRANTED_LATER place:u64 leaf:grant levels:levels
0xD2 ENDED place:u64 handle:handle status:status holds:mode_or_none record:u64
0xD3 DEMOTED place:u64 handle:handle
0xD4 REVOKED place:u64 handle:handle status:status by:u64 reason:text256
0xD5 BLOCKING place:u64 handle:handle seq:u64 mode:mode
0xFF ERROR status:status detail_1:u32 detail_2:u32 text:text
"""

KINDS = {}  # name: (code, layout)
NAMES = {}  # code: name
for line in LAYOUTS.strip().replace("\\\n", "").splitlines():
    kind_code, kind_name, *kind_fields = line.split()
    KINDS[kind_name] = (int(kind_code, 16), Record(" ".join(kind_fields)))
    NAMES[int(kind_code, 16)] = kind_name


class Message(SimpleNamespace):
    """A message: the name of its kind, its number, ack and extensions, and its fields as attributes."""

    def __init__(self, kind, number=0, ack=0, extensions=(), **fields):
        super().__init__(kind=kind, number=number, ack=ack, extensions=list(extensions), **fields)


def is_numbered(code):
    """Does a kind belong to a stream? Its range tells, so that kinds not known here can be counted."""
    return 0x40 <= code <= 0x7F or (0xC0 <= code <= 0xEF and NAMES.get(code) != "BLOCKING")


def encode(message):
    """The frame of a message."""
    code, layout = KINDS[message.kind]
    entries = b"".join(struct.pack("<HH", kind, len(data)) + data for kind, data in message.extensions)
    body = layout.write(message) + Bytes().write(entries)
    return HEADER.pack(HEADER.size + len(body), code, 0, 0, message.number, message.ack) + body


def decode(frame):
    """The message in a frame. A kind the server may say and this client does not know becomes one without fields."""
    length, code, header_flags, reserved, number, ack = HEADER.unpack_from(frame)
    check_length(length)
    if length != len(frame):
        raise FrameError(Status.MALFORMED, f"{len(frame)} bytes for a frame of {length}")
    if code not in NAMES and code < 0x80:
        raise FrameError(Status.UNSUPPORTED, f"kind {code:#x} is not known here")
    if header_flags or reserved:
        raise FrameError(Status.BADPARAM, "header flags or reserved bits")
    if is_numbered(code) and number == 0:
        raise FrameError(Status.PROTOCOL, "a numbered message without its number")
    if not is_numbered(code) and number != 0:
        raise FrameError(Status.BADPARAM, "a number on a message outside the streams")
    if code not in NAMES:
        return Message(f"UNKNOWN_{code:#x}", number, ack)
    reader = Reader(frame, HEADER.size)
    fields = KINDS[NAMES[code]][1].read(reader)
    return Message(NAMES[code], number, ack, read_extensions(reader, NAMES[code]), **vars(fields))


def check_length(length):
    if length < HEADER.size:
        raise FrameError(Status.PROTOCOL, f"{length} bytes are less than a header")
    if length > FRAME_LEN_MAX:
        raise FrameError(Status.FRAME_TOO_LARGE, f"{length} bytes")


def read_extensions(reader, kind):
    """The list that ends every body, as pairs of type and bytes."""
    entries = Reader(Bytes().read(reader))
    if reader.left():
        raise FrameError(Status.MALFORMED, f"{reader.left()} bytes behind the extensions")
    extensions = []
    while entries.left():
        type_ = int.from_bytes(entries.take(2), "little")
        extensions.append((type_, Bytes().read(entries)))
    numbers = [type_ & ~CRITICAL for type_, _ in extensions]
    if len(numbers) > 16 or len(set(numbers)) < len(numbers):
        raise FrameError(Status.MALFORMED, "an extension comes twice, or there are more than 16")
    for type_, data in extensions:
        is_reason = type_ & ~CRITICAL == REASON and kind in ("ENQ", "ENQ_PATH", "ADOPT")
        if is_reason and len(data) > 256:
            raise FrameError(Status.LIMIT, "a reason has at most 256 bytes")
        if type_ & CRITICAL and not is_reason:
            raise FrameError(Status.UNSUPPORTED, f"critical extension {type_ & ~CRITICAL} is not known here")
    return extensions


# --- Requests -------------------------------------------------------------------------------------------------------


def as_bytes(name):
    return name.encode("utf-8") if isinstance(name, str) else bytes(name)


def enq(handle, name, mode, flags=0, *, parent=0, lockspace=0, owner=0, timeout=FOREVER, priority=0, reason=""):
    """Ask for a new lock, a sublock of the lock with the handle `parent` unless that is 0."""
    return Message(
        "ENQ", handle=handle, lockspace=lockspace, parent=parent, mode=mode, flags=flags,
        owner=SimpleNamespace(scope=0, token=owner), timeout=timeout, priority=priority, name=as_bytes(name),
        extensions=[(REASON, as_bytes(reason))] if reason else [],
    )


def convert(handle, mode, flags=0, *, value=None, timeout=FOREVER, priority=0):
    """Change the mode of a granted lock; a `value` goes with VALBLK."""
    return Message("CONVERT", handle=handle, mode=mode, flags=flags, timeout=timeout, priority=priority, value=value)


def deq(handle, flags=0, *, value=None):
    """Release a lock; a `value` is there exactly with VALBLK."""
    return Message("DEQ", handle=handle, flags=flags, value=value)


def deq_all(under=0, flags=0):
    """Release all locks, or all sublocks of one."""
    return Message("DEQ_ALL", under=under, flags=flags)


def cancel(handle):
    """Withdraw what waits."""
    return Message("CANCEL", handle=handle, flags=0)


# --- The client -----------------------------------------------------------------------------------------------------


def boot_time():
    """Seconds on a clock that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def address_of(text):
    """The (host, port) in "host:port" or "[host]:port"."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


class Connection:
    """A greeted connection, for looks; `open` begins a session on it.

    `timeout` is how long, in seconds, any wait on the socket may take before TimeoutError.
    """

    def __init__(self, address, timeout=5.0, agent="enq-py-interop 1"):
        self.socket = socket.create_connection(address, timeout)
        self.timeout = timeout
        self.session = None
        self.looks = {}  # tag: when it was sent
        self.seen = {}  # tag: its answer
        self.tag = 0
        self.buffer = b""
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.write(encode(Message("HELLO", magic=MAGIC, version_min=1, version_max=1, features=0, method=0,
                                      credentials=b"", agent=agent)))
            self.welcome = self.read()
            if self.welcome.kind != "WELCOME":
                raise EnqError(f"{self.welcome.kind} instead of WELCOME")
        except BaseException:
            self.disconnect()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.disconnect()

    def disconnect(self):
        """Close the socket, and say nothing more."""
        self.socket.close()

    def write(self, data):
        """Send bytes as they are."""
        self.socket.sendall(data)

    def read(self, timeout=None):
        """The next message, whatever it is; ERROR is raised. After any fault the connection is closed."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        self._fill(4, deadline)
        try:
            length = int.from_bytes(self.buffer[:4], "little")
            check_length(length)
            self._fill(length, deadline)
            frame, self.buffer = self.buffer[:length], self.buffer[length:]
            message = decode(frame)
        except FrameError:
            self.disconnect()
            raise
        if message.kind == "ERROR":
            self.disconnect()
            raise ServerError(message)
        return message

    def _fill(self, count, deadline):
        """Receive until the buffer has `count` bytes; what has come stays there if the time runs out."""
        while len(self.buffer) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("nothing came in time")
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(FRAME_LEN_MAX)
            except ConnectionError:
                data = b""
            finally:
                self.socket.settimeout(self.timeout)
            if not data:
                raise ConnectionLost("the server closed the connection")
            self.buffer += data

    def receive(self, timeout=None):
        """Read one message and put it where it belongs."""
        message = self.read(timeout)
        if message.kind.startswith("SEEN_"):
            sent = self.looks.pop(message.tag, None)
            if sent is None:
                raise EnqError(f"{message.kind} for the tag {message.tag}, which was not asked")
            self.seen[message.tag] = message
            if self.session:
                self.session._proved(sent)
        if self.session:
            self.session._take(message)

    def look(self, kind, **fields):
        """Ask a look and wait for its answer; LookRefused if it is SEEN_REFUSED."""
        self.tag = tag = self.tag + 1
        self.looks[tag] = boot_time()
        self.write(encode(Message(kind, tag=tag, ack=self.session.received if self.session else 0, **fields)))
        while tag not in self.seen:
            self.receive()
        answer = self.seen.pop(tag)
        if answer.kind == "SEEN_REFUSED":
            raise LookRefused(kind, answer.status)
        return answer

    def ping(self):
        return self.look("PING")

    def open(self, name="", purpose="", *, ttl_ms=10_000, bind_connection=True, **identity):
        """Open a session. `identity` may have node, node_id, host, pid, process_start and orphan_key."""
        fields = dict(node="", node_id=0, host=socket.gethostname(), pid=os.getpid(), process_start=0, orphan_key=b"")
        sent = boot_time()
        opened = self.look("OPEN", name=name, purpose=purpose, ttl_ms=ttl_ms, log=0, bind_connection=bind_connection,
                           **{**fields, **identity})
        self.session = Session(self, opened, sent)
        return self.session

    def resume(self, session):
        """Go on with a session that another connection had: say again what was not executed."""
        sent = boot_time()
        resumed = self.look("RESUME", session=session.id, secret=session.secret, received=session.received)
        self.session = session
        session._go_on(self, resumed, sent)
        return session


class Session:
    """A session on its connection: numbered requests one way, answers and events the other."""

    def __init__(self, connection, opened, sent):
        self.connection = connection
        self.id = opened.session
        self.secret = opened.secret
        self.ttl_ms = opened.ttl_ms
        self.proved = sent  # when the latest frame that was answered had been sent
        self.sent = 0  # number of the last request
        self.received = 0  # number of the last answer or event
        self.acked = 0  # what the last frame sent acknowledged of them
        self.server_ack = 0  # the last request the server says it has executed
        self.unanswered = {}  # request number: (size of its frame, when it was sent, is it a release with NOACK?)
        self.requests = {}  # request number: the request, as long as it is not answered
        self.answers = {}  # request number: its answer
        self.events = []  # what came and has not been asked for
        self.notices = []  # BLOCKING, the like
        self.seqs = {}  # handle: seq of the grant that is known
        self.last_handle = 0

    # Asking

    def new_handle(self):
        """A handle no lock of this session has had."""
        self.last_handle += 1
        return self.last_handle

    def send(self, *requests):
        """Send requests in one write, and return their numbers."""
        frames = []
        for number, request in enumerate(requests, self.sent + 1):
            request.number, request.ack = number, self.received
            frames.append(encode(request))
        sizes = [size for size, _, _ in self.unanswered.values()] + [len(frame) for frame in frames]
        welcome = self.connection.welcome
        if len(sizes) > welcome.window_requests or sum(sizes) > welcome.window_bytes:
            raise WindowFull(f"{len(sizes)} requests of {sum(sizes)} bytes in flight")
        now = boot_time()
        self.connection.write(b"".join(frames))
        for request, frame in zip(requests, frames):
            is_silent = request.kind == "DEQ" and bool(request.flags & Flag.NOACK)
            self.unanswered[request.number] = (len(frame), now, is_silent)
            self.requests[request.number] = request
        self.sent += len(requests)
        self.acked = self.received
        return [request.number for request in requests]

    def call(self, request):
        """Send one request and return its answer."""
        return self.answer(self.send(request)[0])

    def acknowledge(self):
        """Acknowledge what has been received, by a frame that says nothing else."""
        self.connection.write(encode(Message("ACK", ack=self.received)))
        self.acked = self.received

    # Waiting

    def answer(self, number, timeout=None):
        """The answer to a request: GRANTED, QUEUED, DONE, REFUSED, ..."""
        return self._wait(lambda: self.answers.pop(number, None), timeout)

    def event(self, handle, timeout=None):
        """The next numbered event about a lock: GRANTED_LATER, ENDED, DEMOTED or REVOKED."""

        def find():
            for index, event in enumerate(self.events):
                if handle_of(event) == handle:
                    return self.events.pop(index)
            return None

        return self._wait(find, timeout)

    def notice(self, handle, timeout=None):
        """The next blocking notice about the grant of a lock that is known here.

        A notice about an earlier grant is dropped, one about a later grant is kept until that has arrived.
        """

        def find():
            self.notices = [notice for notice in self.notices if notice.seq >= self.seqs.get(notice.handle, 0)]
            for index, notice in enumerate(self.notices):
                if notice.handle == handle and notice.seq == self.seqs.get(handle):
                    return self.notices.pop(index)
            return None

        return self._wait(find, timeout)

    def _wait(self, find, timeout):
        deadline = time.monotonic() + (self.connection.timeout if timeout is None else timeout)
        while (found := find()) is None:
            self.connection.receive(deadline - time.monotonic())
        return found

    # Going on with another connection

    def _go_on(self, connection, resumed, sent):
        self.connection, self.ttl_ms = connection, resumed.ttl_ms
        self._proved(sent)
        self.notices = []  # they are told anew
        self.requests = {number: request for number, request in self.requests.items() if number in self.unanswered}
        again = [request for number, request in self.requests.items() if number > resumed.executed]
        for request in again:
            request.ack = self.received
        connection.write(b"".join(encode(request) for request in again))
        self.acked = self.received

    # Receiving

    def _take(self, message):
        if message.number:
            if message.number != self.received + 1:
                self.connection.disconnect()
                raise EnqError(f"number {message.number} follows {self.received}")
            self.received = message.number
            self._count(message)
            if self.received - self.acked >= self.connection.welcome.window_requests // 2:
                self.acknowledge()
        elif message.kind == "BLOCKING":
            self.notices.append(message)
        self._executed(message.ack)

    def _count(self, message):
        for grant in (getattr(message, "grant", None), getattr(message, "leaf", None)):
            if grant:
                self.seqs[grant.handle] = grant.seq
        if hasattr(message, "request"):
            # A refused release with NOACK may have been acknowledged, and be off the list, before it is answered.
            if message.request in self.unanswered:
                self._proved(self.unanswered.pop(message.request)[1])
            self.requests.pop(message.request, None)
            self.answers[message.request] = message
        elif not message.kind.startswith("UNKNOWN_"):
            self.events.append(message)

    def _executed(self, number):
        """The server has executed all requests up to this number.

        A release with NOACK has no other answer if it worked. If it did not, REFUSED may still come after this: only
        the answer to a later request proves that it worked.
        """
        if number > self.server_ack:
            self.server_ack = number
            for request in [n for n, (_, _, is_silent) in self.unanswered.items() if is_silent and n <= number]:
                self._proved(self.unanswered[request][1])
                del self.unanswered[request]

    def _proved(self, sent):
        self.proved = max(self.proved, sent)

    # The lease

    def renew(self):
        """Make the lease run anew."""
        self.ttl_ms = self.connection.look("RENEW").ttl_ms

    def deadline(self):
        """When, on the clock of `boot_time`, this client must stop believing in its locks."""
        return self.proved + (self.ttl_ms * 99 / 101 - 100) / 1000

    def is_believed(self):
        return boot_time() < self.deadline()

    def close(self):
        """End the session in order; the connection stays, and another session may be opened on it."""
        answer = self.call(Message("CLOSE"))
        if answer.kind == "DONE":
            self.connection.session = None
        return answer


def handle_of(event):
    """The handle an event is about; for a path the leaf's."""
    for part in (event, getattr(event, "grant", None), getattr(event, "leaf", None)):
        if hasattr(part, "handle"):
            return part.handle
    return None
