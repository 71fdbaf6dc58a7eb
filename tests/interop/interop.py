"""Interoperability test of the enq lock protocol, version 1.

    interop.py ADDR VECTORS

ADDR is the "host:port" of a running server, VECTORS the directory with the protocol's messages as commented hex. The
client in enq_client.py was written from the protocol document alone; this program checks that it and the server
understand each other. It prints one line a check and exits with 0 if all hold, with 1 if one does not, with 2 if it was
called wrongly. Resources have names of their own in each run, so it can be repeated against a server that is in use.
"""

import os
import pathlib
import socket
import sys
from contextlib import ExitStack, contextmanager

from enq_client import (
    MAGIC, Connection, EnqError, Flag, FrameError, LookRefused, Message, Mode, Outcome, ServerError, Status,
    address_of, cancel, convert, decode, deq, deq_all, encode, enq,
)

TIMEOUT = 1.5  # seconds any one wait may take
TTL_MS = 10_000
MAIN_VECTORS = {"hello", "welcome", "open", "seen-opened", "enq", "granted", "deq", "done", "refused"}


class World:
    """What a check needs: sessions that end with it, and a resource name nobody else uses."""

    def __init__(self, address, vectors):
        self.address = address
        self.vectors = vectors
        self.ends = ExitStack()

    def connection(self):
        return self.ends.enter_context(Connection(self.address, TIMEOUT))

    def session(self, name):
        return self.connection().open(name, "interoperability test", ttl_ms=TTL_MS)

    @staticmethod
    def resource():
        return f"interop-{os.urandom(8).hex()}"


def expect(message, kind, **fields):
    """The message, if it is of this kind and has these values."""
    assert message.kind == kind, f"{kind} expected, not {message}"
    for name, value in fields.items():
        assert getattr(message, name) == value, f"{name} {value!r} expected in {message}"
    return message


def granted(session, request):
    """The grant of a request that is granted at once."""
    return expect(session.call(request), "GRANTED").grant


def queued(session, request):
    """The lock id of a request that waits."""
    return expect(session.call(request), "QUEUED", handle=request.handle).lock


def granted_later(session, handle):
    """The grant that completes a request that waited."""
    return expect(session.event(handle), "GRANTED_LATER").grant


@contextmanager
def refusal(error, status):
    """Inside, this error is raised, with this status."""
    try:
        yield
    except error as refused:
        assert refused.status == status, f"{status.name} expected, not {refused}"
    else:
        raise AssertionError(f"{status.name} expected, and it was not refused")


# --- The checks -----------------------------------------------------------------------------------------------------


def read_vector(path):
    """The bytes of a vector: hex, with comments from # to the end of a line."""
    return bytes.fromhex("".join(line.partition("#")[0] for line in path.read_text("utf-8").splitlines()))


def vectors(world):
    """every vector is decoded and encoded byte for byte, and what must be refused is"""
    samples = {path.stem: read_vector(path) for path in world.vectors.glob("*.hex")}
    assert MAIN_VECTORS <= samples.keys(), "this is not the directory with the vectors"
    for name, frame in samples.items():
        again = encode(decode(frame))
        assert again == frame, f"{name} became {again.hex(' ')}"
    for path in world.vectors.glob("refused/*.hex"):
        # The first line: "# refused: E BADPARAM ENQ: mode at byte 36: ..."
        status = Status[path.read_text("utf-8").split()[3]]
        try:
            decode(read_vector(path))
        except FrameError as error:
            assert error.status == status, f"refused/{path.stem}: {error}"
        else:
            raise AssertionError(f"refused/{path.stem} was accepted")

    # A round trip does not see two fields in the wrong order. These are written and read by their meaning.
    made = {
        "hello": Message("HELLO", magic=MAGIC, version_min=1, version_max=2, features=0, method=0, credentials=b"",
                         agent="enq-py 0.1"),
        "open": Message("OPEN", tag=0x01020304, name="billing", purpose="nightly", node="node-a", node_id=6,
                        host="alpha", pid=4711, process_start=1760000000, ttl_ms=15000, orphan_key=b"billing", log=0,
                        bind_connection=True),
        "enq": enq(1, "db", Mode.EX, Flag.SYNCSTS | Flag.BLKAST, owner=12, timeout=5000, priority=4),
        "enq-sublock": enq(2, "orders", Mode.PR, Flag.VALBLK, parent=1, owner=12, priority=4, reason="nightly"),
        "convert": convert(1, Mode.CR, Flag.VALBLK, value=b"v1", timeout=1000, priority=2),
        "deq": deq(1),
        "deq-value": deq(1, Flag.VALBLK | Flag.NOACK, value=b""),
        "deq-all": deq_all(1, Flag.IVVALBLK),
        "cancel": cancel(2),
        "close": Message("CLOSE"),
        "ack": Message("ACK"),
        "ping": Message("PING", tag=0x01020304),
        "renew": Message("RENEW", tag=0x01020304),
    }
    for name, message in made.items():
        message.number = 42 if samples[name][4] >= 0x40 else 0
        message.ack = 0 if name in ("hello", "open") else 17
        assert encode(message) == samples[name], f"{name} was made as {encode(message).hex(' ')}"
    lock, seq, fence = 0x5A00000900000001, 7696581394472, 7696581394471
    expect(decode(samples["welcome"]), "WELCOME", window_requests=1024, window_bytes=262144, locks_max=100000,
           ttl_min_ms=1000, ttl_max_ms=60000, members=["a:7117", "b:7117"], unsafe_settings=["no-survivors"])
    expect(decode(samples["seen-opened"]), "SEEN_OPENED", session=7 << 40 | 3, secret=bytes(range(0xA0, 0xB0)),
           ttl_ms=15000)
    grant = expect(decode(samples["granted-value"]), "GRANTED", number=18, ack=42, request=42).grant
    assert (grant.handle, grant.lock, grant.mode, grant.seq, grant.fence) == (1, lock, Mode.EX, seq, fence)
    assert (grant.value.seq, grant.value.valid, grant.value.data) == (5, True, b"v1")
    grant = expect(decode(samples["granted-later"]), "GRANTED_LATER", number=19).grant
    assert grant.outcome == Outcome.ALTMODE | Outcome.DEMOTED | Outcome.STORED | Outcome.VALUE
    expect(decode(samples["queued"]), "QUEUED", request=42, handle=1, lock=lock)
    expect(decode(samples["done"]), "DONE", request=42, status=Status.RELEASED)
    expect(decode(samples["refused"]), "REFUSED", status=Status.NOTQUEUED, blocker=lock, detail=3)
    expect(decode(samples["ended"]), "ENDED", handle=1, status=Status.DEADLOCK, holds=Mode.PR, record=21)
    expect(decode(samples["ended-gone"]), "ENDED", handle=1, status=Status.TIMEOUT, holds=Mode.NONE, record=0)
    expect(decode(samples["blocking"]), "BLOCKING", number=0, handle=1, seq=seq, mode=Mode.PW)
    expect(decode(samples["error"]), "ERROR", status=Status.VERSION, detail_1=1, detail_2=2, text="versions 1 to 2")


def lock(world):
    """a lock is granted, with a seq and a fence"""
    session = world.session("holder")
    name = world.resource()
    grant = granted(session, enq(1, name, Mode.EX, Flag.SYNCSTS))
    assert (grant.handle, grant.mode, grant.outcome, grant.value) == (1, Mode.EX, Outcome.SYNC, None), grant
    assert grant.lock != 0 and grant.seq > 0
    assert grant.fence == grant.seq, "the fence of a lone EX is its own seq"
    live = session.connection.look("CHECK_TOKEN", lockspace=0, path=[name.encode()], seq=grant.seq).live
    assert live is True, "the grant's token is not live"


def conversion(world):
    """a lock is converted, with a higher seq each time and the fence of those it is shared with"""
    holder, other = world.session("holder"), world.session("other")
    name = world.resource()
    first = granted(holder, enq(1, name, Mode.EX))
    shared = granted(holder, convert(1, Mode.PR))
    assert (shared.handle, shared.lock, shared.mode) == (1, first.lock, Mode.PR), shared
    assert shared.seq > first.seq and shared.fence == shared.seq
    also = granted(other, enq(1, name, Mode.PR))
    assert also.seq > shared.seq and also.fence == shared.fence, "two readers have one fence"
    unfenced = granted(holder, convert(1, Mode.CR))
    assert unfenced.seq > also.seq and unfenced.fence == 0, "CR has fence 0"


def release(world):
    """a lock is released, by a release that is answered and by one that is not"""
    holder, other = world.session("holder"), world.session("other")
    name = world.resource()
    before = granted(holder, enq(1, name, Mode.EX))
    expect(holder.call(deq(1)), "DONE", status=Status.RELEASED)
    expect(holder.call(deq(1)), "REFUSED", status=Status.NOSUCHLOCK)
    after = granted(other, enq(1, name, Mode.EX))
    assert after.seq > before.seq, "seq grows also when the resource was gone between"
    silent, following = other.send(deq(1, Flag.NOACK), enq(2, name, Mode.EX))
    expect(other.answer(following), "GRANTED", request=following)
    assert silent not in other.answers and silent not in other.unanswered
    assert other.server_ack == following


def pipeline(world):
    """a parent and its child go in one write, and both are granted in order"""
    session = world.session("holder")
    parent, child = session.send(enq(1, world.resource(), Mode.CW), enq(2, "row", Mode.EX, parent=1))
    first = expect(session.answer(parent), "GRANTED", request=parent)
    second = expect(session.answer(child), "GRANTED", request=child, number=first.number + 1)
    assert (first.grant.handle, first.grant.mode) == (1, Mode.CW), first
    assert (second.grant.handle, second.grant.mode) == (2, Mode.EX), second
    expect(session.call(deq(1)), "REFUSED", status=Status.HASSUBLOCKS)
    expect(session.call(deq_all(1)), "DONE")
    expect(session.call(deq(1)), "DONE", status=Status.RELEASED)


def blocking(world):
    """a holder is told that it blocks, and the waiting session is granted after the release"""
    holder, waiter = world.session("holder"), world.session("waiter")
    name = world.resource()
    held = granted(holder, enq(1, name, Mode.EX, Flag.BLKAST))
    waiting = queued(waiter, enq(1, name, Mode.PW))
    try:
        expect(holder.notice(1), "BLOCKING", number=0, handle=1, seq=held.seq, mode=Mode.PW)
        told = True
    except TimeoutError:
        told = False
    expect(holder.call(deq(1)), "DONE", status=Status.RELEASED)
    grant = granted_later(waiter, 1)
    assert (grant.lock, grant.mode) == (waiting, Mode.PW) and grant.seq > held.seq, grant
    assert told, "the waiter was granted, but the holder had not been told that it blocked"


def value_block(world):
    """a value block that one session stores is read by the other"""
    writer, reader = world.session("writer"), world.session("reader")
    name = world.resource()
    granted(reader, enq(1, name, Mode.NL))  # keeps the resource, and its value block, in being
    empty = granted(writer, enq(1, name, Mode.EX, Flag.VALBLK)).value
    assert (empty.seq, empty.valid, empty.data) == (0, True, b""), empty
    stored = granted(writer, convert(1, Mode.PR, Flag.VALBLK, value=b"\x00first\xff"))
    assert stored.outcome & Outcome.STORED, stored
    value = granted(reader, convert(1, Mode.PR, Flag.VALBLK)).value
    assert (value.seq, value.valid, value.data) == (1, True, b"\x00first\xff"), value
    granted(reader, convert(1, Mode.NL))
    granted(writer, convert(1, Mode.EX))
    expect(writer.call(deq(1, Flag.VALBLK, value=b"second")), "DONE", status=Status.RELEASED)
    value = granted(reader, convert(1, Mode.CR, Flag.VALBLK)).value
    assert (value.seq, value.valid, value.data) == (2, True, b"second"), value


def cancellation(world):
    """a cancel ends what waits: first CANCELLED, then DONE"""
    holder, waiter = world.session("holder"), world.session("waiter")
    name = world.resource()
    granted(holder, enq(1, name, Mode.PR))
    queued(waiter, enq(1, name, Mode.EX))
    done = expect(waiter.call(cancel(1)), "DONE", status=Status.DONE)
    ended = expect(waiter.event(1), "ENDED", status=Status.CANCELLED, holds=Mode.NONE)
    assert ended.number < done.number, "the completion comes before the answer to the cancel"
    # A cancelled conversion leaves the lock as it was, and to cancel a granted lock changes nothing.
    granted(waiter, enq(2, name, Mode.PR))
    queued(waiter, convert(2, Mode.EX))
    expect(waiter.call(cancel(2)), "DONE", status=Status.DONE)
    expect(waiter.event(2), "ENDED", status=Status.CANCELLED, holds=Mode.PR)
    expect(waiter.call(cancel(2)), "DONE", status=Status.CANCELGRANT)


def noqueue(world):
    """a request that must not wait is refused NOTQUEUED, with the lock that is in the way"""
    holder, other = world.session("holder"), world.session("other")
    name = world.resource()
    held = granted(holder, enq(1, name, Mode.EX))
    impatient = enq(1, name, Mode.PR, Flag.NOQUEUE)
    expect(other.call(impatient), "REFUSED", status=Status.NOTQUEUED, blocker=held.lock, detail=0)
    queued(other, enq(2, name, Mode.PR))
    expect(other.call(impatient), "REFUSED", status=Status.NOTQUEUED, detail=1)


def bad_requests(world):
    """bad requests are refused by name, and the connection lives on"""
    session = world.session("clumsy")
    name = world.resource()
    for status, request in [
        (Status.BADPARAM, enq(1, name, 9)),
        (Status.BADPARAM, enq(0, name, Mode.EX)),
        (Status.BADPARAM, enq(session.connection.welcome.locks_max + 1, name, Mode.EX)),
        (Status.BADPARAM, enq(1, name, Mode.EX, Flag.QUECVT)),
        (Status.BADNAME, enq(1, "", Mode.EX)),
        (Status.BADNAME, enq(1, "n" * 256, Mode.EX)),
        (Status.LIMIT, enq(1, name, Mode.EX, timeout=0)),
        (Status.NOSUCHLOCK, enq(2, name, Mode.EX, parent=1)),
        (Status.NOSUCHLOCK, convert(0, Mode.EX)),
        (Status.NOSUCHLOCK, deq(0)),
        (Status.NOSUCHLOCK, cancel(0)),
    ]:
        expect(session.call(request), "REFUSED", request=session.sent, number=session.sent, status=status, blocker=None)
    with refusal(LookRefused, Status.NOSUCHSESSION):
        session.connection.look("SHOW_SESSION", session=0)
    granted(session, enq(1, name, Mode.EX))
    expect(session.call(enq(1, world.resource(), Mode.EX)), "REFUSED", status=Status.BADPARAM)
    expect(session.call(deq(1, Flag.NOQUEUE)), "REFUSED", status=Status.BADPARAM)
    expect(session.call(convert(1, 9)), "REFUSED", status=Status.BADPARAM)
    expect(session.call(deq(1)), "DONE", status=Status.RELEASED)
    expect(session.connection.ping(), "SEEN_DONE")


def bound_session(world):
    """a session bound to its connection ends with it: its lock is free, the value block not valid"""
    holder, waiter = world.session("holder"), world.session("waiter")
    name = world.resource()
    granted(holder, enq(1, name, Mode.EX))
    queued(waiter, enq(1, name, Mode.PW, Flag.VALBLK))
    holder.connection.disconnect()
    grant = granted_later(waiter, 1)
    assert grant.mode == Mode.PW and grant.value.valid is False, grant
    with refusal(LookRefused, Status.NOSUCHSESSION):
        waiter.connection.look("SHOW_SESSION", session=holder.id)


def wrong_magic(world):
    """a first frame with the wrong magic is closed without a word"""
    hello = Message("HELLO", magic=b"ENQ\x02", version_min=1, version_max=1, features=0, method=0, credentials=b"",
                    agent="")
    with socket.create_connection(world.address, TIMEOUT) as raw:
        raw.sendall(encode(hello))
        try:
            said = raw.recv(1)
        except ConnectionResetError:
            said = b""
    assert said == b"", "the server answered"


def lease_and_close(world):
    """the lease is renewed, the session closed, and another opened on the same connection"""
    session = world.session("first")
    connection, name = session.connection, world.resource()
    granted(session, enq(1, name, Mode.EX))
    before = session.deadline()
    session.renew()
    assert session.ttl_ms == TTL_MS and session.is_believed() and session.deadline() > before
    expect(session.close(), "DONE")
    with refusal(LookRefused, Status.NOSUCHSESSION):
        connection.look("RENEW")
    second = connection.open("second", ttl_ms=TTL_MS)
    assert second.id != session.id
    expect(second.call(enq(1, name, Mode.EX)), "GRANTED", number=1, request=1)


def resumed_session(world):
    """a session goes on with another connection: each request once, each answer the same, notices anew"""
    name, other = world.resource(), world.session("other")
    first = world.connection()
    session = first.open("goes on", ttl_ms=TTL_MS, bind_connection=False)
    seq = granted(session, enq(1, name, Mode.EX, Flag.BLKAST)).seq
    # These are executed, and nobody hears their answers; the one behind them is cut short.
    numbers = session.send(enq(2, world.resource(), Mode.PR), convert(1, Mode.PW, Flag.BLKAST))
    while other.connection.look("SHOW_SESSION", session=session.id).sessions[0].locks < 2:
        pass
    lost = deq(2)
    lost.number, lost.ack = session.sent + 1, session.received
    first.write(encode(lost)[:-3])
    first.disconnect()
    queued(other, enq(1, name, Mode.PR))

    second = world.connection()
    second.resume(session)
    expect(session.answer(numbers[0]), "GRANTED", request=2)
    grant = expect(session.answer(numbers[1]), "GRANTED", request=3).grant
    assert grant.handle == 1 and grant.mode == Mode.PW and grant.seq > seq, grant
    expect(session.notice(1), "BLOCKING", seq=grant.seq, mode=Mode.PR)
    expect(session.call(lost), "DONE", status=Status.RELEASED)

    # A newer connection takes it over; the older one is told so, and a wrong secret is told nothing.
    third = world.connection()
    third.resume(session)
    with refusal(ServerError, Status.SUPERSEDED):
        second.read()
    with refusal(ServerError, Status.SESSION):
        world.connection().look("RESUME", session=session.id, secret=bytes(16), received=0)
    expect(session.call(deq(1)), "DONE", status=Status.RELEASED)
    granted_later(other, 1)


CHECKS = [
    vectors, lock, conversion, release, pipeline, blocking, value_block, cancellation, noqueue, bad_requests,
    bound_session, wrong_magic, lease_and_close, resumed_session,
]


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    if not __debug__:
        print("the checks are asserts: run this without -O", file=sys.stderr)
        return 2
    address, directory = address_of(arguments[0]), pathlib.Path(arguments[1])
    failed = 0
    for number, check in enumerate(CHECKS, 1):
        world = World(address, directory)
        try:
            with world.ends:
                check(world)
            print(f"ok   {number:2} {check.__doc__}", flush=True)
        except (AssertionError, EnqError, OSError, KeyError) as error:
            failed += 1
            print(f"FAIL {number:2} {check.__doc__}: {type(error).__name__}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
