/* What a sync costs on this disk, without a server: 4 KiB written and synced, over and over.
 *
 *   sync_probe FILE COUNT append|overwrite|direct
 *
 * append: the file grows; overwrite: zero-filled beforehand; direct: the same with O_DIRECT. Prints p50 and mean in
 * microseconds. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096 };

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    long count = atol(argv[2]);
    char *block = aligned_alloc(BLOCK, BLOCK);
    double *took = calloc(count, sizeof *took);
    if (count < 1 || !block || !took) return 2;
    memset(block, 0, BLOCK);
    int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) fail("open");
    if (strcmp(argv[3], "append") != 0)
        for (long i = 0; i < count; i++)
            if (write(fd, block, BLOCK) != BLOCK) fail("fill");
    if (fsync(fd) < 0) fail("fsync");
    close(fd);
    fd = open(argv[1], O_RDWR | (strcmp(argv[3], "direct") == 0 ? O_DIRECT : 0));
    if (fd < 0) fail("open again");
    memset(block, 'x', BLOCK);
    double sum = 0;
    for (long i = 0; i < count; i++) {
        double begin = now_us();
        if (pwrite(fd, block, BLOCK, i * BLOCK) != BLOCK) fail("pwrite");
        if (fdatasync(fd) < 0) fail("fdatasync");
        took[i] = now_us() - begin;
        sum += took[i];
    }
    qsort(took, count, sizeof *took, ascending);
    printf("%.1f %.1f\n", took[count / 2], sum / count);
    unlink(argv[1]);
    return 0;
}
