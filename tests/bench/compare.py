#!/usr/bin/env python3
"""Duramen beside redis-server: same load, same `appendfsync`, same machine, taking turns. Prints markdown for
docs/performance.md.

    tests/bench/compare.py                        all rows (about ten minutes)
    tests/bench/compare.py --row set-always --row latency
    tests/bench/compare.py --list

Servers run one at a time on a fresh directory below target/; the order changes from round to round (A B, B A, ...) and medians of
the rounds are shown. CPU per request is the user and system time of the server process, all threads, over the requests
of the measured run. Load comes from redis-benchmark; on two cores it competes with the server, for both alike.

The binary is target/release/duramen, or DURAMEN_BIN. Nothing here fails on a figure: it prints whether a bar is met.
"""

import argparse
import glob
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WORK = os.path.join(ROOT, "target", "bench")
REDIS = "/usr/bin/redis-server"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
READY_WITHIN_S = 600
OPTIONS = None  # set by main and run_rows


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server on a directory of its own; `stop` also removes that."""

    def __init__(self, kind, appendfsync, slow_sync=False, extra=()):
        self.kind = kind
        self.home = tempfile.mkdtemp(prefix=f"{kind}-", dir=WORK)
        self.port = free_port()
        self.environment = dict(os.environ)
        binary = REDIS if kind == "redis" else OPTIONS.binary
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.home]
        command += ["--appendfsync", appendfsync]
        if os.path.basename(binary) == "redis-server":
            command += ["--appendonly", "yes", "--save", "", "--auto-aof-rewrite-percentage", "0"]
            command += ["--aof-use-rdb-preamble", "no"]
        else:
            command += ["--auto-aof-rewrite-percentage", "0", *OPTIONS.duramen_args]
            if slow_sync:
                command += ["--log-io", "buffered"]
        if slow_sync:
            self.environment["LD_PRELOAD"] = compiled("slow_sync.c", ["-shared", "-fPIC", "-ldl"])
        self.command = command + list(extra)
        self.process = None
        self.start()

    def start(self):
        """Returns the seconds until PING is answered with PONG, loading included."""
        begin = time.monotonic()
        with open(os.path.join(self.home, "server.log"), "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )
        while not self.answers_ping():
            if self.process.poll() is not None or time.monotonic() - begin > READY_WITHIN_S:
                self.process.kill()
                with open(os.path.join(self.home, "server.log"), errors="replace") as log:
                    sys.exit(f"{self.kind} does not start: {log.read()[-3000:]}")
            time.sleep(0.005)
        return time.monotonic() - begin

    def answers_ping(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.kill9()
        shutil.rmtree(self.home, ignore_errors=True)

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024

    def used_memory(self):
        output = subprocess.run(
            ["redis-cli", "-p", str(self.port), "INFO", "memory"], capture_output=True, text=True, check=False
        ).stdout
        found = re.search(r"used_memory:(\d+)", output)
        return int(found[1]) if found else 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def compiled(source, flags=()):
    """Compiles a C file once per run."""
    target = os.path.join(WORK, source.replace(".c", ".so" if "-shared" in flags else ""))
    if not os.path.exists(target):
        subprocess.run(["gcc", "-O2", "-o", target, os.path.join(HERE, source), *flags], check=True)
    return target


def benchmark(server, requests, arguments):
    """redis-benchmark: requests per second, percentiles in milliseconds."""
    command = ["redis-benchmark", "-p", str(server.port), "-n", str(requests), "--precision", "3", *arguments]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    output = output.replace("\r", "\n")
    rate = re.search(r"throughput summary: ([\d.]+) requests per second", output)
    if not rate:
        sys.exit(f"{' '.join(command)} printed no summary:\n{output[-2000:]}")
    points = [(float(percent), float(ms)) for percent, ms in re.findall(r"^([\d.]+)% <= ([\d.]+) milliseconds", output, re.M)]
    summary = re.search(r"latency summary \(msec\):\s+avg.*\n\s+([\d. ]+)", output)
    average, _, p50, _, p99, _ = map(float, summary[1].split())
    p999 = min((ms for percent, ms in points if percent >= 99.9), default=p99)
    return {"rps": float(rate[1]), "avg": average, "p50": p50, "p99": p99, "p99.9": p999}


def measured(server, arguments):
    """A warm-up that also tells how many requests fill the wanted time, then the run that counts."""
    few = 1000 if "1" == arguments[arguments.index("-c") + 1] else 20_000
    warm = benchmark(server, few, arguments)
    requests = max(few, int(warm["rps"] * OPTIONS.seconds))
    before = server.cpu_s()
    result = benchmark(server, requests, arguments)
    result["cpu_us"] = (server.cpu_s() - before) * 1e6 / requests
    return result


def request(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def pipe(server, requests):
    """By redis-cli --pipe; every one of them must be taken."""
    client = subprocess.Popen(["redis-cli", "-p", str(server.port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for each in requests:
        client.stdin.write(each)
    output = client.communicate()[0].decode()
    if "errors: 0," not in output:
        sys.exit(f"{server.kind}: filling failed: {output[-500:]}")


def in_turn(run):
    """run(kind) for both servers, the order changing each round; medians by server and figure."""
    results = {"redis": [], "duramen": []}
    for round_number in range(OPTIONS.rounds):
        order = ["redis", "duramen"] if round_number % 2 == 0 else ["duramen", "redis"]
        for kind in order:
            results[kind].append(run(kind))
            print(f"  {kind}: {shown(results[kind][-1])}", file=sys.stderr, flush=True)
    return {kind: medians(runs) for kind, runs in results.items()}


def medians(runs):
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def shown(result):
    return ", ".join(f"{name} {value:.4g}" for name, value in result.items())


def preload(server, keys):
    benchmark(server, keys * 3, ["-c", "8", "-P", "32", "-d", "64", "-r", str(keys), "-t", "set"])


class Report:
    """The lines of the tables, and the same as JSON."""

    def __init__(self):
        self.loads, self.others, self.raw = [], [], {}

    def load(self, name, work, both, ratio_bar, cpu_bar):
        redis, duramen = both["redis"], both["duramen"]
        ratio, cpu = duramen["rps"] / redis["rps"], duramen["cpu_us"] / redis["cpu_us"]
        met = ratio >= ratio_bar and cpu <= cpu_bar
        self.raw[name] = both
        self.loads.append(
            f"| {work} | {redis['rps']:,.0f} | {duramen['rps']:,.0f} | **{ratio:.2f}x** (>= {ratio_bar}) "
            f"| {redis['cpu_us']:.2f} | {duramen['cpu_us']:.2f} | **{cpu:.2f}x** (<= {cpu_bar}) "
            f"| {redis['p50']:.3f} / {duramen['p50']:.3f} | {redis['p99']:.3f} / {duramen['p99']:.3f} "
            f"| {redis['p99.9']:.3f} / {duramen['p99.9']:.3f} | {verdict(met)} |"
        )

    def other(self, name, work, redis, duramen, result, met, raw):
        self.raw[name] = raw
        self.others.append(f"| {work} | {redis} | {duramen} | {result} | {verdict(met)} |")

    def markdown(self):
        lines = [machine(), ""]
        if self.loads:
            lines += [
                "| load | Redis req/s | Duramen req/s | throughput | Redis CPU us/req | Duramen CPU us/req | CPU "
                "| p50 ms R / D | p99 ms R / D | p99.9 ms R / D | bar |",
                "|---|---|---|---|---|---|---|---|---|---|---|",
                *self.loads,
                "",
            ]
        if self.others:
            lines += ["| work | Redis | Duramen | result | bar |", "|---|---|---|---|---|", *self.others]
        return "\n".join(lines)


def verdict(met):
    return "met" if met else "**missed**"


def machine():
    with open("/proc/cpuinfo") as cpuinfo:
        model = re.search(r"model name\s*: (.*)", cpuinfo.read())
    version = subprocess.run([REDIS, "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", WORK], capture_output=True, text=True, check=True).stdout.strip()
    return (
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, {filesystem}; "
        f"redis-server {version.removeprefix('v=')}; {OPTIONS.rounds} rounds of {OPTIONS.seconds:g} s, medians; values of 64 bytes"
    )


# Random keys among so many, all present: a store is larger than the processor's caches.
KEYS = 1_000_000


def simple_load(name, work, appendfsync, arguments, ratio_bar, cpu_bar):
    def row(report):
        def run(kind):
            with Server(kind, appendfsync) as server:
                preload(server, KEYS)
                return measured(server, ["-d", "64", "-r", str(KEYS), *arguments])

        report.load(name, work, in_turn(run), ratio_bar, cpu_bar)

    return row


def row_own_everysec(report):
    """`always` against our own `everysec`; Redis' figures for comparison."""
    rates = {}
    for round_number in range(OPTIONS.rounds):
        policies = ["always", "everysec"] if round_number % 2 == 0 else ["everysec", "always"]
        for policy in policies:
            for kind in ["redis", "duramen"]:
                with Server(kind, policy) as server:
                    preload(server, KEYS)
                    result = measured(server, ["-d", "64", "-r", str(KEYS), "-c", "50", "-t", "set"])
                    rates.setdefault((kind, policy), []).append(result["rps"])
    rate = {key: statistics.median(values) for key, values in rates.items()}
    ratio = {kind: rate[kind, "always"] / rate[kind, "everysec"] for kind in ["redis", "duramen"]}
    cell = {kind: f"{rate[kind, 'always']:,.0f} / {rate[kind, 'everysec']:,.0f} = {ratio[kind]:.2f}x" for kind in ratio}
    raw = {f"{kind} {policy}": value for (kind, policy), value in rate.items()}
    report.other(
        "own-everysec", "SET `always` / `everysec`, 50 connections, req/s", cell["redis"], cell["duramen"],
        f"{ratio['duramen']:.2f}x (>= 0.9)", ratio["duramen"] >= 0.9, raw,
    )


def row_mixed(report):
    """Readers beside writers, the disk 2 ms slower: reads of other keys must not wait."""

    def run(kind):
        with Server(kind, "always", slow_sync=True) as server:
            preload(server, 100_000)
            writer = subprocess.Popen(
                ["redis-benchmark", "-p", str(server.port), "-c", "8", "-n", "100000000", "-r", "100000", "-q",
                 "SET", "write:__rand_int__", "x" * 64],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            try:
                time.sleep(0.5)
                return measured(server, ["-d", "64", "-r", "100000", "-c", "42", "-t", "get"])
            finally:
                writer.send_signal(signal.SIGKILL)
                writer.wait()

    both = in_turn(run)
    redis, duramen = both["redis"], both["duramen"]
    ratio, tail = duramen["rps"] / redis["rps"], duramen["p99"] / redis["p99"]
    report.other(
        "mixed", "42 connections GET beside 8 SET `always`, syncs 2 ms slower: GET/s, p50 / p99 / p99.9 ms",
        *(f"{r['rps']:,.0f}, {r['p50']:.2f} / {r['p99']:.2f} / {r['p99.9']:.2f}" for r in (redis, duramen)),
        f"{ratio:.1f}x (>= 4), p99 {tail:.2f}x (<= 0.3)", ratio >= 4 and tail <= 0.3, both,
    )


def row_latency(report):
    """One connection under `always`, beside what the disk takes for a sync alone."""
    probe = compiled("sync_probe.c")

    def raw_sync(mode):
        path = os.path.join(WORK, "probe")
        output = subprocess.run([probe, path, "2000", mode], capture_output=True, text=True, check=True).stdout
        return float(output.split()[0])

    raw = {mode: [] for mode in ["append", "overwrite", "direct"]}

    def run(kind):
        for mode, values in raw.items():
            values.append(raw_sync(mode))
        with Server(kind, "always") as server:
            return measured(server, ["-d", "64", "-r", "100000", "-c", "1", "-t", "set"])

    both = in_turn(run)
    sync = {mode: statistics.median(values) for mode, values in raw.items()}
    us = {kind: 1e6 / both[kind]["rps"] for kind in both}
    bar = sync["overwrite"] + 40
    cell = {kind: f"{us[kind]:.0f} us mean, p50 {both[kind]['p50'] * 1000:.0f}, p99 {both[kind]['p99'] * 1000:.0f}" for kind in both}
    report.other(
        "latency",
        f"SET `always`, one connection; raw 4 KiB write + fdatasync p50: appended {sync['append']:.0f}, "
        f"overwritten {sync['overwrite']:.0f}, O_DIRECT {sync['direct']:.0f} us",
        cell["redis"], cell["duramen"], f"raw + {us['duramen'] - sync['overwrite']:.0f} us (<= 40)",
        us["duramen"] <= bar, {"raw_us": sync, **both},
    )


def fill(server, keys):
    """SET key:<n> with values of 100 bytes, by redis-cli --pipe."""
    pipe = subprocess.Popen(
        ["redis-cli", "-p", str(server.port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False
    )
    value = b"v" * 88
    for start in range(0, keys, 10_000):
        chunk = []
        for n in range(start, min(start + 10_000, keys)):
            key = b"key:%d" % n
            chunk.append(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$100\r\n%s%012d\r\n" % (len(key), key, value, n))
        pipe.stdin.write(b"".join(chunk))
    output = pipe.communicate()[0].decode()
    if f"errors: 0, replies: {keys}" not in output:
        sys.exit(f"{server.kind}: loading {keys} keys failed: {output[-500:]}")


FILLED = {}


def filled(kind):
    """Fills a server, measures its memory, then kills and restarts it: one filling serves two rows."""
    if kind not in FILLED:
        keys = OPTIONS.keys
        with Server(kind, "everysec") as server:
            empty_rss, empty_used = server.rss_bytes(), server.used_memory()
            begin = time.monotonic()
            fill(server, keys)
            loading_s = time.monotonic() - begin
            time.sleep(1)  # what is freed after the load counts for both
            result = {
                "rss": (server.rss_bytes() - empty_rss) / keys,
                "used": (server.used_memory() - empty_used) / keys,
                "load_s": loading_s,
                "recovery_s": [],
            }
            for _ in range(max(1, OPTIONS.rounds)):
                server.kill9()
                result["recovery_s"].append(server.start())
            result["rss_recovered"] = (server.rss_bytes() - empty_rss) / keys
            found = subprocess.run(["redis-cli", "-p", str(server.port), "DBSIZE"], capture_output=True, text=True, check=True)
            if found.stdout.strip() != str(keys):
                sys.exit(f"{kind}: {found.stdout.strip()} keys after the restart, not {keys}")
            FILLED[kind] = result
            print(f"  {kind}: {result}", file=sys.stderr, flush=True)
    return FILLED[kind]


def row_memory(report):
    both = {kind: filled(kind) for kind in ["redis", "duramen"]}
    redis, duramen = both["redis"], both["duramen"]
    cell = [f"{r['rss']:.1f} RSS, {r['used']:.1f} used_memory, {r['rss_recovered']:.1f} RSS recovered" for r in (redis, duramen)]
    ratio = duramen["rss"] / redis["rss"]
    report.other(
        "memory", f"bytes per key, {OPTIONS.keys / 1e6:g} M keys `key:<n>` of 100 bytes", *cell,
        f"RSS {ratio:.2f}x (<= 1)", ratio <= 1, both,
    )


def row_recovery(report):
    both = {kind: filled(kind) for kind in ["redis", "duramen"]}
    seconds = {kind: statistics.median(both[kind]["recovery_s"]) for kind in both}
    speedup = seconds["redis"] / seconds["duramen"]
    report.other(
        "recovery", f"start after SIGKILL with {OPTIONS.keys / 1e6:g} M SETs in the log, until PONG",
        f"{seconds['redis']:.2f} s", f"{seconds['duramen']:.2f} s", f"{speedup:.2f}x as fast (>= 2)", speedup >= 2, both,
    )


ROWS = {
    "set-always": simple_load("set-always", "SET `always`, 50 connections", "always", ["-c", "50", "-t", "set"], 1.1, 0.95),
    "set-everysec": simple_load("set-everysec", "SET `everysec`, 50 connections", "everysec", ["-c", "50", "-t", "set"], 1.05, 0.9),
    "get-everysec": simple_load(
        "get-everysec", "GET `everysec`, 50 connections", "everysec", ["-c", "50", "-t", "get"], 1.05, 0.9
    ),
    "set-always-p16": simple_load(
        "set-always-p16", "SET `always`, 50 connections, pipeline 16", "always", ["-c", "50", "-P", "16", "-t", "set"], 1.8, 0.45
    ),
    "set-everysec-p16": simple_load(
        "set-everysec-p16", "SET `everysec`, 50 connections, pipeline 16", "everysec", ["-c", "50", "-P", "16", "-t", "set"], 1.8, 0.45
    ),
    "own-everysec": row_own_everysec,
    "mixed": row_mixed,
    "latency": row_latency,
    "memory": row_memory,
    "recovery": row_recovery,
}


def report_on(rows):
    """Runs the rows that were asked for and prints their figures."""
    OPTIONS.binary = os.environ.get("DURAMEN_BIN") or os.path.join(ROOT, "target", "release", "duramen")
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK)
    report = Report()
    for name in OPTIONS.row or rows:
        print(f"{name}:", file=sys.stderr, flush=True)
        rows[name](report)
    print(report.markdown())
    return report


def run_rows(description, rows, numbers=None):
    """The command line of a script whose rows, by name, are functions that add to a report."""
    global OPTIONS
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", action="append", choices=rows, help="only these rows")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each server per row")
    parser.add_argument("--seconds", type=float, default=3, help="length of a measured run")
    for name, (value, text) in (numbers or {}).items():
        parser.add_argument(name, type=int, default=value, help=text)
    OPTIONS = parser.parse_args()
    OPTIONS.duramen_args = []
    report_on(rows)


def load_program(name):
    """The newest build of a load of tests/bench (`cargo bench --bench NAME --no-run`)."""
    built = glob.glob(os.path.join(ROOT, f"target/release/deps/{name}-*[0-9a-f]"))
    if not built:
        sys.exit(f"first build the load: cargo bench --bench {name} --no-run")
    return max(built, key=os.path.getmtime)


def main():
    global OPTIONS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", action="append", choices=list(ROWS), help="only these rows")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each server per row (default 3)")
    parser.add_argument("--seconds", type=float, default=4, help="length of a measured run (default 4)")
    parser.add_argument("--keys", type=int, default=3_000_000, help="keys for memory and recovery (default 3 million)")
    parser.add_argument("--duramen-arg", dest="duramen_args", action="append", default=[], help="one more argument for Duramen")
    parser.add_argument("--json", help="also write all figures to this file")
    OPTIONS = parser.parse_args()
    if OPTIONS.list:
        print("\n".join(ROWS))
        return 0
    report = report_on(ROWS)
    if OPTIONS.json:
        with open(OPTIONS.json, "w") as out:
            json.dump(report.raw, out, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
