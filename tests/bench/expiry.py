#!/usr/bin/env python3
"""Whether active expiry keeps up: keys that live a short while, written as fast as the server takes them (or as told).

    tests/bench/expiry.py [--seconds 20] [--ttl-ms 1000] [--connections 4] [--rate 200000] [--server redis]

Every 200 ms the share of keys whose time has come but that are still there is worked out from the outside: keys present (DBSIZE) less
those written within the last `ttl`, over keys present. Prints a line a second and the largest share after the first two lifetimes.
The binary is target/release/duramen, or DURAMEN_BIN.
"""

import argparse
import collections
import multiprocessing
import os
import time

import compare
from eviction import Connection, info

BATCH = 500


def write(port, number, ttl_ms, rate, written, end):
    connection = Connection(port)
    begin, n = time.monotonic(), 0
    head = b"*5\r\n$3\r\nSET\r\n$16\r\nk%02d:" % number
    ttl = b"%d" % ttl_ms
    tail = b"\r\n$10\r\n0123456789\r\n$2\r\nPX\r\n$%d\r\n%s\r\n" % (len(ttl), ttl)
    while time.monotonic() < end:
        connection.socket.sendall(b"".join(head + b"%012d" % k + tail for k in range(n, n + BATCH)))
        connection.file.read(5 * BATCH)
        n += BATCH
        written[number] = n
        ahead = begin + n / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--ttl-ms", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--rate", type=int, default=200_000, help="keys a second, all connections together")
    parser.add_argument("--server", default="duramen", choices=["duramen", "redis"])
    options = parser.parse_args()
    options.binary = os.environ.get("DURAMEN_BIN", os.path.join(compare.ROOT, "target", "release", "duramen"))
    options.duramen_args = []
    compare.OPTIONS = options
    os.makedirs(compare.WORK, exist_ok=True)
    with compare.Server(options.server, "everysec") as server:
        written = multiprocessing.Array("L", options.connections)
        begin = time.monotonic()
        writers = [
            multiprocessing.Process(target=write, args=(server.port, n, options.ttl_ms, options.rate / options.connections, written, begin + options.seconds))
            for n in range(options.connections)
        ]
        for writer in writers:
            writer.start()
        watcher = Connection(server.port)
        history = collections.deque()
        worst, shown = 0.0, 0
        while time.monotonic() < begin + options.seconds:
            total, now = sum(written), time.monotonic()
            present = int(watcher.call("DBSIZE"))
            history.append((now, total))
            while len(history) > 2 and history[1][0] <= now - options.ttl_ms / 1000:
                history.popleft()
            # What was written before then is due: a little less is, so the share is an upper bound.
            alive = total - history[0][1]
            share = max(present - alive, 0) / max(present, 1)
            if now - begin > 2 * options.ttl_ms / 1000 + 0.5:
                worst = max(worst, share)
            if now - begin >= shown + 1:
                shown += 1
                print(f"{shown:3} s  written {total / (now - begin):9.0f}/s  present {present:8}  due but present {share * 100:5.1f} %  told {info(watcher, 'expired_stale_perc')} %", flush=True)
            time.sleep(0.05)
        for writer in writers:
            writer.join()
        print(f"largest share {worst * 100:.1f} %, CPU {server.cpu_s():.1f} s, {sum(written)} keys")


if __name__ == "__main__":
    main()
