#!/usr/bin/env python3
"""Streams beside redis-server: XADD, a stream as a work queue, what the log takes, memory, ranges. Prints markdown for docs/performance.md.

    cargo bench --bench stream_group --no-run && tests/bench/streams.py        all rows (about five minutes)
    tests/bench/streams.py --row xadd --row memory

Options and method are those of compare.py; the queue's load is tests/bench/stream_group.rs.
"""

import subprocess
import sys
import time

import compare
from compare import pipe, request


def entry(n, payload):
    return request("XADD", "s", "%d-%d" % (1_700_000_000_000 + n // 20, n % 20 + 1), "user", "user:%d" % n, "payload", payload)


def filled(server, entries, payload):
    pipe(server, (entry(n, payload) for n in range(entries)))
    time.sleep(1)


def cli(server, *words):
    output = subprocess.run(["redis-cli", "-p", str(server.port), *map(str, words)], capture_output=True, text=True, check=True)
    return output.stdout


def info(server, field):
    for line in cli(server, "INFO", "everything").splitlines():
        if line.startswith(field + ":"):
            return line.split(":", 1)[1].strip()
    sys.exit(f"INFO has no {field}")


def xadd(report):
    for size in [32, 512]:
        for policy, pipeline, bar in [("always", 1, 1.2), ("everysec", 16, 1.5)]:
            def run(kind):
                with compare.Server(kind, policy) as server:
                    arguments = ["-c", "50", "-P", str(pipeline), "XADD", "s", "*", "job", "p" * size]
                    return compare.measured(server, arguments)

            name = f"XADD of {size} bytes, {policy}, pipeline {pipeline}"
            report.load(f"xadd-{size}-{policy}", name, compare.in_turn(run), bar, 9)


def queue(report):
    load = compare.load_program("stream_group")
    for size in [32, 512]:
        def run(kind):
            with compare.Server(kind, "always") as server:
                arguments = [load, str(server.port), str(size), str(compare.OPTIONS.seconds)]
                output = subprocess.run(arguments, capture_output=True, text=True, check=True)
                return {"messages/s": float(output.stdout)}

        both = compare.in_turn(run)
        redis, duramen = both["redis"]["messages/s"], both["duramen"]["messages/s"]
        report.other(
            f"queue-{size}", f"added, read by a group (COUNT 10), acknowledged: {size} bytes, 8 producers, 8 consumers, always",
            f"{redis:.0f} messages/s", f"{duramen:.0f}", f"{duramen / redis:.2f}x (>= 1.5)", duramen >= 1.5 * redis, both,
        )


def logged(report):
    """Bytes in the log for each message that was added, delivered (ten at a time) and acknowledged one by one."""
    messages = 20_000
    with compare.Server("duramen", "everysec") as server:
        cli(server, "XGROUP", "CREATE", "jobs", "workers", "0", "MKSTREAM")
        before = int(info(server, "append_lsn"))
        pipe(server, (request("XADD", "jobs", "%d-1" % (1_700_000_000_000 + n), "job", "p" * 32) for n in range(messages)))
        read = request("XREADGROUP", "GROUP", "workers", "consumer-1", "COUNT", "10", "STREAMS", "jobs", ">")
        pipe(server, (read for _ in range(messages // 10)))
        pipe(server, (request("XACK", "jobs", "workers", "%d-1" % (1_700_000_000_000 + n)) for n in range(messages)))
        each = (int(info(server, "append_lsn")) - before) / messages
    report.other("logged", "bytes logged for a message of 32 bytes", "about 300", f"{each:.1f}", "<= 110", each <= 110, each)


def memory(report):
    entries = compare.OPTIONS.entries
    for size in [32, 512]:
        grown = {}
        for kind in ["redis", "duramen"]:
            with compare.Server(kind, "everysec") as server:
                before = server.used_memory()
                filled(server, entries, "p" * size)
                grown[kind] = (server.used_memory() - before) / entries
        ratio = grown["duramen"] / grown["redis"]
        report.other(
            f"memory-{size}", f"memory of an entry of two fields, {size} bytes of payload, {entries} entries",
            f"{grown['redis']:.1f} bytes", f"{grown['duramen']:.1f}", f"{ratio:.2f}x (<= 0.9)", ratio <= 0.9, grown,
        )


def ranges(report):
    entries = compare.OPTIONS.entries

    def run(kind):
        with compare.Server(kind, "everysec") as server:
            filled(server, entries, "p" * 32)
            start = "%d-1" % (1_700_000_000_000 + entries // 40)
            return compare.measured(server, ["-c", "50", "XRANGE", "s", start, "+", "COUNT", "100"])

    both = compare.in_turn(run)
    redis, duramen = both["redis"]["p99"], both["duramen"]["p99"]
    report.other(
        "xrange", f"XRANGE of 100 in the middle of {entries} entries, 50 connections: p99",
        f"{redis:.2f} ms", f"{duramen:.2f}", f"{duramen / redis:.2f}x (<= 1)", duramen <= redis, both,
    )


ROWS = {"xadd": xadd, "queue": queue, "logged": logged, "memory": memory, "ranges": ranges}


if __name__ == "__main__":
    compare.run_rows(__doc__, ROWS, {"--entries": (1_000_000, "of the long stream (the bar is for 5000000)")})
