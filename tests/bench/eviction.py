#!/usr/bin/env python3
"""How well eviction chooses, beside Redis: hit ratios of a cache on one and the same trace.

    tests/bench/eviction.py [--keys 200000] [--requests 1500000] [--policy allkeys-lru --policy allkeys-lfu ...]

Keys are drawn from a Zipf distribution (exponent 0.99), scattered over the key space. A client that finds nothing with GET sets the
value, as users of a cache do. Each server may use what a share of the keys (30 % unless told otherwise) takes in it, measured in it
first: so both hold about as many keys. The trace's pace is the same for both (--rate), since accesses are remembered in seconds. `shift`
is the same trace with the popularity of all keys drawn anew halfway. The best that any policy could do without knowing the future
is not known; LRU without sampling is simulated for comparison.

The binary is target/release/duramen, or DURAMEN_BIN. Prints markdown; nothing fails on a figure.
"""

import argparse
import bisect
import collections
import itertools
import os
import random
import re
import socket
import time

import compare

BATCH = 200
VALUE = b"x" * 100


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def call(self, *words):
        self.send(words)
        return self.reply()

    def send(self, *requests):
        self.socket.sendall(b"".join(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in map(encoded, words)) for words in requests))

    def reply(self):
        line = self.file.readline()
        if line[:1] == b"$":
            length = int(line[1:])
            return None if length < 0 else self.file.read(length + 2)[:-2]
        if line[:1] == b"*":
            return [self.reply() for _ in range(int(line[1:]))]
        if line[:1] == b"-":
            raise RuntimeError(line.decode())
        return line[1:-2]


def encoded(word):
    return word if isinstance(word, bytes) else str(word).encode()


def info(connection, name):
    found = re.search(rf"^{name}:(\d+)", connection.call("INFO").decode().replace("\r", ""), re.M)
    return int(found[1]) if found else 0


def counted(connection):
    """What `maxmemory` is compared with."""
    time.sleep(0.3)
    return info(connection, "used_memory") - info(connection, "mem_not_counted_for_evict")


def trace(keys, requests, shift):
    """Numbers of keys; the same for every server."""
    noise = random.Random(42)
    cumulated = list(itertools.accumulate(1 / rank**0.99 for rank in range(1, keys + 1)))
    places = list(range(keys))
    noise.shuffle(places)
    for n in range(requests):
        if shift and n == requests // 2:
            noise.shuffle(places)
        rank = bisect.bisect_left(cumulated, noise.random() * cumulated[-1])
        yield places[min(rank, keys - 1)]


def key(number):
    return b"key:%012d" % number


def limit_of(connection, keys, share, extra):
    """Room for a share of all keys, which are there afterwards."""
    numbers = random.Random(1).sample(range(keys), int(keys * share))
    for start in range(0, len(numbers), BATCH):
        chunk = numbers[start : start + BATCH]
        connection.send(*[("SET", key(n), VALUE, *extra) for n in chunk])
        for _ in chunk:
            connection.reply()
    return counted(connection)


def run(kind, policy, shift, options):
    with compare.Server(kind, "everysec") as server:
        connection = Connection(server.port)
        connection.call("CONFIG", "SET", "maxmemory-policy", policy, "maxmemory-samples", options.samples)
        extra = ["PX", 10_000_000] if policy.startswith("volatile") else []
        limit = limit_of(connection, options.keys, options.share, extra)
        connection.call("CONFIG", "SET", "maxmemory", limit)
        connection.call("CONFIG", "SET", "lfu-decay-time", 0 if options.no_decay else 1)
        hits = late = overshoot = 0
        numbers = trace(options.keys, options.requests, shift)
        begin, cpu = time.monotonic(), server.cpu_s()
        for at in range(0, options.requests, BATCH):
            batch = list(itertools.islice(numbers, BATCH))
            connection.send(*[("GET", key(n)) for n in batch])
            missed = [n for n in batch if connection.reply() is None]
            # Half of the trace warms the cache up.
            if at >= options.requests // 2 or shift:
                hits += len(batch) - len(missed)
            if missed:
                connection.send(*[("SET", key(n), VALUE, *extra) for n in missed])
                for _ in missed:
                    connection.reply()
            if at % (BATCH * 500) == 0:
                overshoot = max(overshoot, info(connection, "used_memory") - info(connection, "mem_not_counted_for_evict") - limit)
            ahead = begin + at / options.rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            late = max(late, -ahead)
        cpu = (server.cpu_s() - cpu) * 1e6 / options.requests
        counts = options.requests if shift else options.requests - options.requests // 2
        held, evicted = connection.call("DBSIZE"), info(connection, "evicted_keys")
        return hits / counts, int(held), evicted, late, overshoot, cpu


def exact_lru(keys, requests, room, shift):
    cache, hits = collections.OrderedDict(), 0
    for at, n in enumerate(trace(keys, requests, shift)):
        if n in cache:
            hits += at >= requests // 2 or shift
            cache.move_to_end(n)
            continue
        cache[n] = None
        if len(cache) > room:
            cache.popitem(last=False)
    return hits / (requests if shift else requests - requests // 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--requests", type=int, default=1_500_000)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--rate", type=int, default=30_000, help="requests a second")
    parser.add_argument("--policy", action="append")
    parser.add_argument("--shift", action="store_true")
    parser.add_argument("--no-decay", action="store_true")
    options = parser.parse_args()
    options.binary = os.environ.get("DURAMEN_BIN", os.path.join(compare.ROOT, "target", "release", "duramen"))
    options.duramen_args = []
    compare.OPTIONS = options
    os.makedirs(compare.WORK, exist_ok=True)
    print("| policy | trace | redis hits | duramen hits | ratio | keys held | evicted | CPU us/request | over the limit, KiB | late, s |\n|---|---|---|---|---|---|---|---|---|---|")
    room = 0
    for policy in options.policy or ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru"]:
        redis, duramen = (run(kind, policy, options.shift, options) for kind in ("redis", "duramen"))
        room = room or redis[1]
        pair = lambda n, form: f"{form.format(redis[n])} / {form.format(duramen[n])}"
        name = "shift" if options.shift else "steady"
        over = f"{redis[4] // 1024} / {duramen[4] // 1024}"
        print(f"| {policy} | {name} | {redis[0]:.4f} | {duramen[0]:.4f} | {duramen[0] / redis[0]:.4f} | {pair(1, '{}')} | {pair(2, '{}')} | {pair(5, '{:.2f}')} | {over} | {pair(3, '{:.1f}')} |", flush=True)
    print(f"\nLRU without sampling, as many keys as Redis held under the first policy: {exact_lru(options.keys, options.requests, room, options.shift):.4f}")


if __name__ == "__main__":
    main()
