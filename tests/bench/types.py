#!/usr/bin/env python3
"""Collections beside redis-server: large sorted sets, the common writes, memory. Prints markdown for docs/performance.md.

    tests/bench/types.py                   all rows (about eight minutes)
    tests/bench/types.py --row zset --row memory

Options and method are those of compare.py: servers in turn, redis-benchmark, medians, CPU time of the server process over the requests.
Loads run with 50 connections and pipeline 16 under `everysec`.
"""

import random
import sys
import time

import compare
from compare import pipe, request

MEMBERS = 1_000_000


def batches(total, size, words):
    """`words(n)` of every number, so many numbers to a request that `words(None)` begins."""
    for start in range(0, total, size):
        yield request(*words(None), *(word for n in range(start, min(start + size, total)) for word in words(n)))


def member(n):
    # As redis-benchmark writes __rand_int__.
    return b"member:%012d" % n


def zset(name):
    chance = random.Random(7)
    return batches(MEMBERS, 500, lambda n: (b"ZADD", name) if n is None else (chance.randrange(MEMBERS), member(n)))


def load(name, work, prepare, command, ratio_bar=1.3, cpu_bar=0.75):
    def row(report):
        def run(kind):
            with compare.Server(kind, "everysec") as server:
                pipe(server, prepare())
                time.sleep(1)
                return compare.measured(server, ["-c", "50", "-P", "16", "-r", str(MEMBERS), *command])

        report.load(name, f"{work}, pipeline 16", compare.in_turn(run), ratio_bar, cpu_bar)

    return row


def nothing():
    return []


def long_list():
    return batches(60_000_000 // 4, 10_000, lambda n: (b"RPUSH", "mylist") if n is None else (b"xyz",))


LOADS = {
    "zset": [
        load("zadd", "ZADD, 1 M members", lambda: zset("z"), ["ZADD", "z", "__rand_int__", "member:__rand_int__"]),
        load("zrank", "ZRANK, 1 M members", lambda: zset("z"), ["ZRANK", "z", "member:__rand_int__"]),
        load("zrange", "ZRANGE of 10 in the middle, 1 M members", lambda: zset("z"), ["ZRANGE", "z", "500000", "500009"]),
        load(
            "zrange-byscore", "ZRANGE BYSCORE LIMIT 0 10, anywhere, 1 M members", lambda: zset("z"),
            ["ZRANGE", "z", "__rand_int__", "+inf", "BYSCORE", "LIMIT", "0", "10"],
        ),
        load("zincrby", "ZINCRBY, 1 M members", lambda: zset("z"), ["ZINCRBY", "z", "1", "member:__rand_int__"]),
    ],
    "writes": [
        load("hset", "HSET, one hash, 1 M fields", nothing, ["HSET", "myhash", "element:__rand_int__", "xyz"]),
        load("hset-keys", "HSET, 1 M hashes", nothing, ["HSET", "h:__rand_int__", "field", "xyz"]),
        load("sadd", "SADD, one set, 1 M members", nothing, ["SADD", "myset", "element:__rand_int__"]),
        load("lpush", "LPUSH", nothing, ["LPUSH", "mylist", "xyz"]),
        load("lpop", "LPOP", long_list, ["LPOP", "mylist"]),
    ],
}

MEMORY = {
    "a sorted set of 1 M members": lambda: zset("z"),
    "a set of 1 M members": lambda: batches(MEMBERS, 500, lambda n: (b"SADD", "s") if n is None else (member(n),)),
    "100 k hashes of 10 fields": lambda: (
        request("HSET", "h:%d" % n, *(word for f in range(10) for word in ("field:%d" % f, "value:%d" % (n + f)))) for n in range(100_000)
    ),
    "100 k lists of 20": lambda: (request("RPUSH", "l:%d" % n, *("element:%d" % (n + e) for e in range(20))) for n in range(100_000)),
    "a list of 1 M elements": lambda: batches(MEMBERS, 500, lambda n: (b"RPUSH", "l") if n is None else (b"element:%d" % n,)),
}


def memory(report):
    for work, fill in MEMORY.items():
        grown = {}
        for kind in ["redis", "duramen"]:
            with compare.Server(kind, "everysec") as server:
                before = server.used_memory(), server.rss_bytes()
                pipe(server, fill())
                time.sleep(1)
                grown[kind] = server.used_memory() - before[0], server.rss_bytes() - before[1]
        ratio = grown["duramen"][0] / grown["redis"][0]
        cell = [f"{used / 1e6:.1f} MB, RSS {rss / 1e6:.1f}" for used, rss in (grown["redis"], grown["duramen"])]
        report.other(work, f"memory of {work}", *cell, f"{ratio:.2f}x (<= 0.9)", ratio <= 0.9, grown)
        print(f"  {work}: {grown}", file=sys.stderr, flush=True)


def every(loads):
    return lambda report: [load(report) for load in loads]


ROWS = {**{name: every(loads) for name, loads in LOADS.items()}, "memory": memory}


if __name__ == "__main__":
    compare.run_rows(__doc__, ROWS)
