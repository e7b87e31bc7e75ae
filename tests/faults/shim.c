/* LD_PRELOAD shim: faults of the disk under log segments (`NUMBER.log` in a folder `log`), and under nothing else, on demand. A fault lasts while
 * a file of its name exists in the folder FAULT_DIR:
 *
 *   sync_fails      fdatasync and fsync return EIO
 *   sync_is_stuck   fdatasync and fsync wait before they begin; whoever waits says so by making the file `somebody_waits`
 *   no_space        pwrite and its kin, fallocate and posix_fallocate return ENOSPC
 *
 * Every sync that succeeded, of whatever file or folder, and every rename is noted in the file `trace` there, one a line.
 * It sees calls through libc only: io_uring passes it by. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int control_path(char *path, size_t size, const char *name) {
    const char *dir = getenv("FAULT_DIR");
    return dir && snprintf(path, size, "%s/%s", dir, name) < (int)size;
}

static int is_set(const char *name) {
    char path[1024];
    return control_path(path, sizeof path, name) && access(path, F_OK) == 0;
}

static int is_segment(int fd) {
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 4) return 0;
    path[length] = 0;
    return strcmp(path + length - 4, ".log") == 0 && strstr(path, "/log/") != NULL;
}

static void announce(void) {
    char path[1024];
    if (!control_path(path, sizeof path, "somebody_waits")) return;
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
}

static void note(const char *what, const char *of) {
    char path[1024], line[1200];
    int length = snprintf(line, sizeof line, "%s %s\n", what, of);
    if (length >= (int)sizeof line || !control_path(path, sizeof path, "trace")) return;
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    if (write(fd, line, length) != length) abort();
    close(fd);
}

static int after_sync(int fd, int result) {
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (result == 0 && length > 0) {
        path[length] = 0;
        note("sync", path);
    }
    return result;
}

/* 0: go on; else the call fails. */
static int before_sync(int fd) {
    if (!is_segment(fd)) return 0;
    const struct timespec pause = {0, 1000000};
    while (is_set("sync_is_stuck")) {
        announce();
        nanosleep(&pause, NULL);
    }
    return is_set("sync_fails") ? EIO : 0;
}

static int before_write(int fd) {
    return is_set("no_space") && is_segment(fd) ? ENOSPC : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define SYNC(name)                                     \
    int name(int fd) {                                 \
        static int (*real)(int);                       \
        if (!real) real = REAL(name);                  \
        int fault = before_sync(fd);                   \
        if (fault) { errno = fault; return -1; }       \
        return after_sync(fd, real(fd));               \
    }
SYNC(fdatasync)
SYNC(fsync)

#define WRITE(name, parameters, arguments)             \
    ssize_t name parameters {                          \
        static ssize_t (*real) parameters;             \
        if (!real) real = REAL(name);                  \
        int fault = before_write(fd);                  \
        if (fault) { errno = fault; return -1; }       \
        return real arguments;                         \
    }
WRITE(pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
WRITE(pwrite64, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at))
WRITE(pwritev, (int fd, const struct iovec *from, int count, off_t at), (fd, from, count, at))
WRITE(pwritev64, (int fd, const struct iovec *from, int count, off64_t at), (fd, from, count, at))
WRITE(pwritev2, (int fd, const struct iovec *from, int count, off_t at, int flags), (fd, from, count, at, flags))
WRITE(pwritev64v2, (int fd, const struct iovec *from, int count, off64_t at, int flags), (fd, from, count, at, flags))

#define ALLOCATE(name, parameters, arguments, refusal) \
    int name parameters {                              \
        static int (*real) parameters;                 \
        if (!real) real = REAL(name);                  \
        if (before_write(fd)) { errno = ENOSPC; return refusal; } \
        return real arguments;                         \
    }
ALLOCATE(fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size), -1)
ALLOCATE(fallocate64, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size), -1)
ALLOCATE(posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size), ENOSPC)
ALLOCATE(posix_fallocate64, (int fd, off64_t at, off64_t size), (fd, at, size), ENOSPC)

int rename(const char *from, const char *to) {
    static int (*real)(const char *, const char *);
    if (!real) real = REAL(rename);
    note("rename", to);
    return real(from, to);
}
