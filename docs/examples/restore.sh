#!/bin/sh
# A restore from beginning to end: a server with a journal, locks, a backup, a segment that is damaged by hand, and what is
# there again. It needs enq and enqd in the PATH, works in a directory of its own and leaves nothing behind.
set -u
work=$(mktemp -d)
cd "$work" || exit 1
server=
trap '[ -n "$server" ] && kill "$server" && wait "$server"; rm -rf "$work"' EXIT

# Prints a command, runs it, and says how it ended if that was not well.
run() {
    echo "\$ $*"
    "$@" 2>&1
    code=$?
    [ "$code" = 0 ] || echo "(exit code $code)"
}

# Starts a server and waits until it serves.
serve() {
    echo "\$ enqd --data-dir journal &"
    rm -f serving
    enqd --listen "$1" --log-level error --data-dir journal >serving 2>/dev/null &
    server=$!
    until [ -s serving ]; do
        kill -0 "$server" || exit 1
        sleep 0.1
    done
    ENQ_SERVERS=$(sed 's/listening on //' serving)
    export ENQ_SERVERS
}

serve 127.0.0.1:0
run enq space create reports --wait-max 1h
echo '$ eval "$(enq session open)"'
eval "$(enq session open)"
echo "\$ enq lock accounts"
granted=$(enq lock accounts)
echo "$granted"
run enq lock -m PR db
run enq snapshot save journal backup
echo
echo "# This is not in the backup any more."
run enq space create later
echo
echo "# The machine fails, and so does its disk."
echo "\$ kill -KILL enqd"
kill -KILL "$server"
wait "$server" 2>/dev/null
server=
echo "\$ dd if=/dev/zero of=journal/00000000000000000001.segment bs=1 seek=568 count=8 conv=notrunc"
dd if=/dev/zero of=journal/00000000000000000001.segment bs=1 seek=568 count=8 conv=notrunc 2>/dev/null
run enqd --listen "$ENQ_SERVERS" --log-level error --data-dir journal
run enq snapshot verify journal
run enq journal ls journal
echo
echo "# The backup is whole, and becomes a journal."
run enq snapshot verify backup
run mv journal damaged
run enq snapshot restore backup journal --after damaged
echo
echo "# Nobody was granted a lock after the backup, so nobody has to be waited for."
serve "$ENQ_SERVERS"
run enq space ls -o name
run enq convert "${granted%% *}" PR
run enq ls -o name
run enq session close
run enq ls -o name
