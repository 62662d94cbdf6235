/* A wall clock that is wrong by as many seconds as the file in WRONG_CLOCK says (a 64-bit number, read as it changes).
 * Loaded by LD_PRELOAD into the processes of a site, Python, SQLite and OpenSSL alike; the time since boot stays true.
 * libfaketime does the same and more, but makes Python's time.sleep fail (clock_nanosleep gives EINVAL). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t none_s = 0;
static const volatile int64_t *wrong_s = &none_s;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("WRONG_CLOCK");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *wrong_s, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) wrong_s = mapped;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += *wrong_s;
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    at->tv_sec = exact.tv_sec;
    at->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (at != NULL) *at = exact.tv_sec;
    return exact.tv_sec;
}
