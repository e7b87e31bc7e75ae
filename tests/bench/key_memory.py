#!/usr/bin/env python3
"""Whether MEMORY USAGE tells the truth: its sum over many keys of a kind beside what the allocator's figure grows by.

    tests/bench/key_memory.py [--keys 100000]

The binary is target/release/duramen, or DURAMEN_BIN. Prints markdown; nothing fails on a figure.
"""

import argparse
import os
import random

import compare
from eviction import Connection, counted

BATCH = 20  # short pipelines: buffers that a connection and the log keep would be taken for the keys'

KINDS = {
    "string of 10": lambda n, at: [("SET", at, b"v%09d" % n)],
    "string of 100": lambda n, at: [("SET", at, b"x" * 100)],
    "string of 10 with EX": lambda n, at: [("SET", at, b"v%09d" % n, "EX", 1000 + n % 7919)],
    "string of 10 with one EX": lambda n, at: [("SET", at, b"v%09d" % n, "EX", 100000)],
    "hash of 10 fields": lambda n, at: [("HSET", at, *[w for f in range(10) for w in ("field%d" % f, "value%d" % (n + f))])],
    "hash of 200 fields": lambda n, at: [("HSET", at, *[w for f in range(200) for w in ("field%d" % f, "value%d" % (n + f))])],
    "list of 20": lambda n, at: [("RPUSH", at, *["element%d" % (n + f) for f in range(20)])],
    "list of 2000": lambda n, at: [("RPUSH", at, *["element%d" % (n + f) for f in range(2000)])],
    "set of 10 integers": lambda n, at: [("SADD", at, *[n + f for f in range(10)])],
    "set of 10": lambda n, at: [("SADD", at, *["member%d" % (n + f) for f in range(10)])],
    "set of 200": lambda n, at: [("SADD", at, *["member%d" % (n + f) for f in range(200)])],
    "sorted set of 10": lambda n, at: [("ZADD", at, *[w for f in range(10) for w in (n + f, "member%d" % f)])],
    "sorted set of 200": lambda n, at: [("ZADD", at, *[w for f in range(200) for w in (n + f, "member%d" % f)])],
}


def measure(kind, keys):
    make = KINDS[kind]
    keys = keys if not kind.endswith(("200", "2000", "200 fields")) else max(keys // (50 if "2000" in kind else 10), 100)
    with compare.Server("duramen", "everysec") as server:
        connection = Connection(server.port)
        before = counted(connection)
        for start in range(0, keys, BATCH):
            chunk = range(start, min(start + BATCH, keys))
            requests = [request for n in chunk for request in make(n, b"key:%09d" % n)]
            connection.send(*requests)
            for _ in requests:
                connection.reply()
        grown = counted(connection) - before
        told = 0
        for start in range(0, keys, BATCH):
            chunk = range(start, min(start + BATCH, keys))
            connection.send(*[("MEMORY", "USAGE", b"key:%09d" % n) for n in chunk])
            told += sum(int(connection.reply()) for _ in chunk)
        return grown / keys, told / keys


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--kind", action="append")
    options = parser.parse_args()
    options.binary = os.environ.get("DURAMEN_BIN", os.path.join(compare.ROOT, "target", "release", "duramen"))
    options.duramen_args = []
    compare.OPTIONS = options
    os.makedirs(compare.WORK, exist_ok=True)
    print("| keys | grown, bytes each | told | told / grown |\n|---|---|---|---|")
    for kind in options.kind or KINDS:
        try:
            grown, told = measure(kind, options.keys)
            print(f"| {kind} | {grown:.1f} | {told:.1f} | {told / grown:.3f} |", flush=True)
        except RuntimeError as error:
            print(f"| {kind} | {error} | | |", flush=True)


if __name__ == "__main__":
    main()
