/* LD_PRELOAD shim: every fdatasync and fsync takes SLOW_SYNC_US (default 2000) microseconds longer, as on a slower disk.
 * It sees calls through libc only: syncs by io_uring pass it by. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void linger(void) {
    const char *text = getenv("SLOW_SYNC_US");
    long us = text ? atol(text) : 2000;
    struct timespec delay = {us / 1000000, (us % 1000000) * 1000};
    nanosleep(&delay, NULL);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    linger();
    return result;
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int result = real(fd);
    linger();
    return result;
}
