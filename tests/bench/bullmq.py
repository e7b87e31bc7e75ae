#!/usr/bin/env python3
"""BullMQ adds and processes 20,000 jobs with 8 workers: redis-server everysec, Duramen everysec and Duramen always take turns.

    tests/bench/bullmq.py                     five rounds, medians and the two bars
    tests/bench/bullmq.py --rounds 1 --jobs 2000 --only redis

Servers run one at a time on a fresh directory below target/, the order turns from round to round. The load (tests/bench/bullmq.mjs, one
process of Node.js) shares the machine with the server, for all alike. Needs `npm ci` in tests/clients/node. The binary is
target/release/duramen, or DURAMEN_BIN. Nothing here fails on a figure: it prints whether a bar is met.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

import compare

KINDS = {"redis everysec": ("redis", "everysec"), "duramen everysec": ("duramen", "everysec"), "duramen always": ("duramen", "always")}
RUN_WITHIN_S = 600


def seconds(kind, jobs, workers):
    server = compare.Server(*KINDS[kind])
    try:
        environment = dict(os.environ, PORT=str(server.port), JOBS=str(jobs), WORKERS=str(workers))
        command = ["node", os.path.join(compare.HERE, "bullmq.mjs")]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_WITHIN_S)
        if run.returncode != 0:
            sys.exit(f"{kind}: {run.stderr[-3000:]}")
        return json.loads(run.stdout)["seconds"]
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--only", choices=["redis", "duramen"], help="one server alone, to try it")
    options = parser.parse_args()
    os.makedirs(compare.WORK, exist_ok=True)
    binary = os.environ.get("DURAMEN_BIN") or os.path.join(compare.ROOT, "target", "release", "duramen")
    compare.OPTIONS = argparse.Namespace(binary=binary, duramen_args=[])
    kinds = [kind for kind in KINDS if options.only in (None, kind.split()[0])]
    times = {kind: [] for kind in kinds}
    for turn in range(options.rounds):
        for kind in kinds[turn % len(kinds) :] + kinds[: turn % len(kinds)]:
            times[kind].append(seconds(kind, options.jobs, options.workers))
            print(f"round {turn + 1}, {kind}: {times[kind][-1]:.2f} s", file=sys.stderr)
    median = {kind: statistics.median(own) for kind, own in times.items()}
    print(f"| BullMQ: {options.jobs} jobs, {options.workers} workers | seconds (median of {options.rounds}) | lowest - highest |")
    print("|---|---|---|")
    for kind, own in times.items():
        print(f"| {kind} | {median[kind]:.2f} | {min(own):.2f} - {max(own):.2f} |")
    if not options.only:
        for what, ratio, bar in (
            ("Duramen everysec / redis-server everysec", median["duramen everysec"] / median["redis everysec"], 1.0),
            ("Duramen always / Duramen everysec", median["duramen always"] / median["duramen everysec"], 1.1),
        ):
            print(f"\n{what}: {ratio:.2f}, bar <= {bar}: {'met' if ratio <= bar else 'NOT met'}")


if __name__ == "__main__":
    main()
