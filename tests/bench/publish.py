#!/usr/bin/env python3
"""PUBLISH beside redis-server, to 100 and to 10000 subscribers. Prints markdown for docs/performance.md.

    cargo bench --bench publish --no-run && tests/bench/publish.py        all rows (about two minutes)
    tests/bench/publish.py --row hundred

Options and method are those of compare.py; the load is tests/bench/publish.rs.
"""

import subprocess

import compare


def published(server, *arguments):
    load = compare.load_program("publish")
    words = [load, str(server.port), *map(str, arguments), str(compare.OPTIONS.seconds)]
    before = server.cpu_s()
    output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rate = float(output)
    return {"messages_s": rate, "cpu_us": (server.cpu_s() - before) / (rate * compare.OPTIONS.seconds) * 1e6}


def row(report, name, subscribers, publishers, pipeline, payload, bar):
    extra = ["--maxclients", "20000"]

    def run(kind):
        with compare.Server(kind, "everysec", extra=extra) as server:
            return published(server, publishers, pipeline, subscribers, payload)

    both = compare.in_turn(run)
    redis, duramen = both["redis"], both["duramen"]
    ratio = duramen["messages_s"] / redis["messages_s"]
    report.other(
        name,
        f"PUBLISH of {payload} bytes to {subscribers} subscribers, {publishers} publishers, pipeline {pipeline}: messages/s, CPU us each",
        f"{redis['messages_s']:,.0f}, {redis['cpu_us']:.0f} us", f"{duramen['messages_s']:,.0f}, {duramen['cpu_us']:.0f} us",
        f"{ratio:.2f}x (>= {bar})", ratio >= bar, both,
    )


def hundred(report):
    for publishers, pipeline, payload in [(1, 1, 64), (50, 1, 64), (4, 16, 64), (50, 1, 1024)]:
        row(report, f"publish-{publishers}-{pipeline}-{payload}", 100, publishers, pipeline, payload, 1.2)


def many(report):
    row(report, "publish-10000", 10_000, 4, 1, 64, 1.0)


ROWS = {"hundred": hundred, "many": many}


if __name__ == "__main__":
    compare.run_rows(__doc__, ROWS)
