#!/usr/bin/env python3
"""PUBLISH beside redis-server, to 100 and to 10000 subscribers. Prints markdown for docs/performance.md.

    cargo bench --bench publish --no-run && tests/bench/publish.py        all rows (about two minutes)
    tests/bench/publish.py --row hundred

Options and method are those of compare.py; the load is tests/bench/publish.rs.
"""

import argparse
import glob
import os
import shutil
import subprocess
import sys

import compare


def published(server, *arguments):
    pattern = os.path.join(compare.ROOT, "target/release/deps/publish-*[0-9a-f]")
    load = max(glob.glob(pattern), key=os.path.getmtime)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", action="append", choices=ROWS, help="only these rows")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each server per row")
    parser.add_argument("--seconds", type=float, default=3, help="length of a measured run")
    compare.OPTIONS = parser.parse_args()
    compare.OPTIONS.binary = os.environ.get("DURAMEN_BIN") or os.path.join(compare.ROOT, "target", "release", "duramen")
    compare.OPTIONS.duramen_args = []
    shutil.rmtree(compare.WORK, ignore_errors=True)
    os.makedirs(compare.WORK)
    report = compare.Report()
    for name in compare.OPTIONS.row or ROWS:
        print(f"{name}:", file=sys.stderr, flush=True)
        ROWS[name](report)
    print(report.markdown())


if __name__ == "__main__":
    main()
