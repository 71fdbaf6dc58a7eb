/* A system that does less than it is asked to: reads and writes at an offset stop anywhere, and some are interrupted.
 *
 * Loaded before the C library of a server (LD_PRELOAD) by tests/durable/faults.rs. What is done is done truly: nothing is lost
 * but to those who do not look at what they are told. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_uint calls;

/* How much of it is done this time; nothing, if it is interrupted. */
static size_t some_of(size_t length) {
    unsigned call = atomic_fetch_add(&calls, 1) + 1;
    if (call == 10) {
        /* Says that it was here. */
        const char *trace = getenv("ENQ_SHORT_TRACE");
        if (trace) close(open(trace, O_CREAT | O_WRONLY, 0600));
    }
    if (call % 7 == 3) return 0;
    if (length > 1 && call % 2) return 1 + (call * 2654435761u) % (length - 1);
    return length;
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off_t offset) {
    size_t some = some_of(length);
    if (length && !some) { errno = EINTR; return -1; }
    return syscall(SYS_pwrite64, file, bytes, some, offset);
}

ssize_t pread64(int file, void *bytes, size_t length, off_t offset) {
    size_t some = some_of(length);
    if (length && !some) { errno = EINTR; return -1; }
    return syscall(SYS_pread64, file, bytes, some, offset);
}
