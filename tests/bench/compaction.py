#!/usr/bin/env python3
"""Compaction beside Redis' BGREWRITEAOF: what clients feel of it, what it costs, how fast the result loads.

    tests/bench/compaction.py [--keys 3000000]
    tests/bench/compaction.py --mixed             about 1 GB in strings, hashes, lists, sets and sorted sets, small and large
    tests/bench/compaction.py --only start        only how fast a snapshot loads, beside the RDB base of the same keys

Each server gets the same keys (values of 100 random hexadecimal digits, or with --mixed values of 1000 bytes and collections of 20
elements of 50, beside one collection of each type with 200,000), is pinged every millisecond under full write load (50
connections, pipeline 4) first without and then with a compaction, is killed and started from the result. Then one key in a hundred
is changed and Duramen compacts again. Loopback; about three minutes. The binary is target/release/duramen, or DURAMEN_BIN.

`--only start`: each server gets the same keys, makes its snapshot (BGSAVE; BGREWRITEAOF with an RDB base) and is shut down, so that no
log stands behind it. Then both are started in turn, the files in the page cache, until they answer PING. Before each start a program
that ends at once has touched more memory than either needs: on virtual machines that give free memory back to their host, fetching
it again would cost more than the loading, and whoever starts second would find it there.
"""

import argparse
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

import compare


def command(server, *words):
    return subprocess.run(["redis-cli", "-p", str(server.port), *words], capture_output=True, text=True, check=True).stdout


def field(server, name):
    found = re.search(rf"^{name}:(\S+)", command(server, "INFO").replace("\r", ""), re.M)
    return found[1] if found else "0"


def fill(server, numbers):
    pipe = subprocess.Popen(["redis-cli", "-p", str(server.port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    noise = random.Random(7)
    chunk = []
    for n in numbers:
        key = b"key:%012d" % n
        value = b"%0100x" % noise.getrandbits(400)
        chunk.append(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$100\r\n%s\r\n" % (len(key), key, value))
        if len(chunk) == 10_000:
            pipe.stdin.write(b"".join(chunk))
            chunk.clear()
    pipe.stdin.write(b"".join(chunk))
    pipe.communicate()


def request(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def collection(kind, key, elements, noise):
    text = [b"%050x" % noise.getrandbits(200) for _ in range(elements)]
    if kind == "hash":
        return request(b"HSET", key, *(word for n, value in enumerate(text) for word in (b"field:%d" % n, value)))
    if kind == "zset":
        return request(b"ZADD", key, *(word for member in text for word in (b"%d" % noise.getrandbits(40), member)))
    return request({"list": b"RPUSH", "set": b"SADD"}[kind], key, *text)


def fill_mixed(server, numbers):
    """As `fill`, a kilobyte a key; the key with number 0 brings one large collection of each type."""
    pipe = subprocess.Popen(["redis-cli", "-p", str(server.port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    noise = random.Random(7)
    kinds = ["hash", "list", "set", "zset"]
    for n in numbers:
        if n == 0:
            for part in range(200):
                for kind in kinds:
                    pipe.stdin.write(collection(kind, b"large:" + kind.encode(), 1000, noise))
        if n % 5 == 4:
            pipe.stdin.write(request(b"SET", b"key:%012d" % (n // 5), b"%01000x" % noise.getrandbits(4000)))
        else:
            # What is filled a second time is made anew.
            key = b"mixed:%d" % n
            pipe.stdin.write(request(b"DEL", key) + collection(kinds[n % 5], key, 20, noise))
    pipe.communicate()


class Pinger(threading.Thread):
    """Pings about every millisecond; latencies in milliseconds."""

    def __init__(self, port):
        super().__init__()
        self.port, self.running, self.latencies = port, True, []

    def run(self):
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while self.running:
                begin = time.monotonic()
                connection.sendall(b"PING\r\n")
                connection.recv(64)
                self.latencies.append((time.monotonic() - begin) * 1000)
                time.sleep(0.001)

    def stop(self):
        self.running = False
        self.join()
        ordered = sorted(self.latencies)
        return ordered[int(len(ordered) * 0.999)], ordered[-1]


def loaded(server, keys, while_running):
    """Full write load, on strings that are there, while `while_running` does; requests a second, ping p99.9 and longest, largest resident memory."""
    load = subprocess.Popen(
        ["redis-benchmark", "-p", str(server.port), "-c", "50", "-P", "4", "-n", "1000000000", "-r", str(keys // 5 if compare.OPTIONS.mixed else keys), "-d", "1000" if compare.OPTIONS.mixed else "100", "-t", "set", "-q"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    time.sleep(1)
    pinger = Pinger(server.port)
    pinger.start()
    peak = [0]
    begin, before = time.monotonic(), int(field(server, "total_commands_processed"))
    while_running(lambda: peak.__setitem__(0, max(peak[0], resident(server))))
    rate = (int(field(server, "total_commands_processed")) - before) / (time.monotonic() - begin)
    load.kill()
    load.wait()
    p999, longest = pinger.stop()
    return {"rate": rate, "p99.9": p999, "longest": longest, "peak": peak[0]}


def resident(server):
    """Of the server and what it forked."""
    children = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True).stdout.split()
    total = 0
    for pid in [server.process.pid, *children]:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                total += sum(int(n) for n in re.findall(r"^(?:Private_Clean|Private_Dirty):\s+(\d+)", rollup.read(), re.M)) * 1024
        except OSError:
            pass
    return total


def rewrite(server, note=lambda: None):
    command(server, "BGREWRITEAOF")
    begin = time.monotonic()
    while True:
        time.sleep(0.05)
        note()
        if field(server, "aof_rewrite_in_progress") == "0" and field(server, "aof_rewrite_scheduled") == "0":
            return time.monotonic() - begin


def run(kind, keys, fill_all):
    with compare.Server(kind, "everysec") as server:
        if kind == "redis":
            command(server, "CONFIG", "SET", "aof-use-rdb-preamble", "yes")
        fill_all(server, range(keys))
        first_s = rewrite(server)
        quiet = loaded(server, keys, lambda note: [(time.sleep(0.05), note()) for _ in range(100)])
        busy = loaded(server, keys, lambda note: rewrite(server, note))
        rewrite(server)
        result = {"first_s": first_s, "quiet": quiet, "busy": busy}
        if kind == "duramen":
            result["bytes"] = int(field(server, "snapshot_bytes"))
            full_written = int(field(server, "compaction_bytes_written"))
            # Everything once more, as a base; then one in a hundred.
            fill_all(server, range(keys))
            result["full_s"] = rewrite(server)
            full = int(field(server, "compaction_bytes_written")) - full_written
            fill_all(server, range(100, keys, 100))
            result["part_s"] = rewrite(server)
            part = int(field(server, "compaction_bytes_written")) - full_written - full
            result["full_bytes"], result["part_bytes"] = full, part
        else:
            folder = os.path.join(server.home, "appendonlydir")
            result["bytes"] = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder) if ".base." in f)
        server.kill9()
        result["start_s"] = server.start()
        return result


def touch_memory(total):
    subprocess.run([sys.executable, "-c", f"bytearray(b'x') * {total}"], check=True)


def snapshot_size(server):
    folder = os.path.join(server.home, "snapshot" if server.kind == "duramen" else "appendonlydir")
    wanted = ".snap" if server.kind == "duramen" else ".base."
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder) if wanted in name)


def starts(keys, rounds, fill_all):
    with compare.Server("redis", "everysec", extra=["--maxmemory", "8gb"]) as redis, compare.Server("duramen", "everysec") as duramen:
        command(redis, "CONFIG", "SET", "aof-use-rdb-preamble", "yes")
        for server in [redis, duramen]:
            fill_all(server, range(keys))
            rewrite(server)
            subprocess.run(["redis-cli", "-p", str(server.port), "SHUTDOWN"], capture_output=True, check=False)
            server.process.wait()
        seconds = {"redis": [], "duramen": []}
        wanted = keys + (4 if compare.OPTIONS.mixed else 0)
        for _ in range(rounds):
            for server in [redis, duramen]:
                touch_memory(1 << 31 if compare.OPTIONS.mixed else keys * 300)
                seconds[server.kind].append(server.start())
                loaded = int(command(server, "DBSIZE"))
                server.kill9()
                if loaded != wanted:
                    sys.exit(f"{server.kind} loaded {loaded} keys of {wanted}")
        for server in [redis, duramen]:
            times = seconds[server.kind]
            print(f"{server.kind}: {snapshot_size(server):,} bytes on disk; until PONG best {min(times):.3f} s, median {statistics.median(times):.3f} s")
        for name, pick in [("best", min), ("median", statistics.median)]:
            print(f"{name}: {pick(seconds['redis']) / pick(seconds['duramen']):.2f}x as fast (bar: 3)")
        print(f"size: {snapshot_size(duramen) / snapshot_size(redis):.2f}x (bar: 1)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int)
    parser.add_argument("--mixed", action="store_true", help="all types; --keys is then 1 million unless given")
    parser.add_argument("--only", choices=["start"])
    parser.add_argument("--rounds", type=int, default=3, help="starts of each server, with --only start")
    compare.OPTIONS = parser.parse_args()
    compare.OPTIONS.binary = os.environ.get("DURAMEN_BIN") or os.path.join(compare.ROOT, "target", "release", "duramen")
    compare.OPTIONS.duramen_args = []
    mixed = compare.OPTIONS.mixed
    keys, fill_all = compare.OPTIONS.keys or (1_000_000 if mixed else 3_000_000), fill_mixed if mixed else fill
    shutil.rmtree(compare.WORK, ignore_errors=True)
    os.makedirs(compare.WORK)
    if compare.OPTIONS.only == "start":
        return starts(keys, compare.OPTIONS.rounds, fill_all)
    for kind in ["redis", "duramen"]:
        print(kind, flush=True)
        for name, value in run(kind, keys, fill_all).items():
            print(f"  {name}: {value}", flush=True)


if __name__ == "__main__":
    main()
