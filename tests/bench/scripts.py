#!/usr/bin/env python3
"""Scripts beside redis-server: EVALSHA of what limiters and locks run on. Prints markdown for docs/performance.md.

    cargo bench --bench transactions --no-run && tests/bench/scripts.py        all rows (about a minute)
    tests/bench/scripts.py --row limiter --rounds 3

Options and method are those of compare.py.
"""

import subprocess

import compare
from compare import pipe, request

LIMITER = """
local now = redis.call('TIME')
local now_us = now[1] * 1000000 + now[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_us - ARGV[1])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], now_us, now_us .. ':' .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1] / 1000)
return 1
"""

DELETE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""

# Takes a lock if it is free, and gives it back.
LOCK = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', 30000) and redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""

EMPTY = "return 1"


def load(server, script):
    output = subprocess.run(
        ["redis-cli", "-p", str(server.port), "SCRIPT", "LOAD", script], capture_output=True, text=True, check=True
    )
    return output.stdout.strip()


def evalsha(script, words, keys=100_000, before=lambda server: None, policy="everysec"):
    def run(kind):
        with compare.Server(kind, policy) as server:
            before(server)
            arguments = ["-c", "50", "-r", str(keys), "EVALSHA", load(server, script), "1", *words]
            return compare.measured(server, arguments)

    return compare.in_turn(run)


def limiter(report):
    words = ["limit:__rand_int__", "1000000", "100", "__rand_int__"]
    both = evalsha(LIMITER, words, keys=1000)
    report.load("limiter", "sliding-window limiter, 1000 keys, everysec", both, 1.2, 0.9)


def delete(report):
    count = 1_000_000

    def fill(server):
        pipe(server, (request("SET", "lock:%012d" % n, "token") for n in range(count)))

    both = evalsha(DELETE, ["lock:__rand_int__", "token"], keys=count, before=fill)
    report.load("delete", "compare-and-delete, a million locks, everysec", both, 1.2, 0.9)


def lock(report):
    report.load("lock", "SET NX, GET, DEL in a script, everysec", evalsha(LOCK, ["lock:__rand_int__", "token"]), 1.2, 0.9)


def empty(report):
    report.load("empty", "a script that does nothing (no bar of its own)", evalsha(EMPTY, ["k"]), 0, 9)


def transactions(report):
    program = compare.load_program("transactions")

    def run(kind):
        with compare.Server(kind, "always") as server:
            before = server.cpu_s()
            words = [program, str(server.port), "50", str(compare.OPTIONS.seconds)]
            rate = float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
            return {"tx_s": rate, "cpu_us": (server.cpu_s() - before) / (rate * compare.OPTIONS.seconds) * 1e6}

    both = compare.in_turn(run)
    redis, duramen = both["redis"], both["duramen"]
    ratio = duramen["tx_s"] / redis["tx_s"]
    report.other(
        "transactions", "MULTI, 5 SETs, EXEC, always, 50 connections: transactions/s, CPU us each",
        f"{redis['tx_s']:,.0f}, {redis['cpu_us']:.0f} us", f"{duramen['tx_s']:,.0f}, {duramen['cpu_us']:.0f} us",
        f"{ratio:.2f}x (>= 1.3)", ratio >= 1.3, both,
    )


ROWS = {"transactions": transactions, "limiter": limiter, "delete": delete, "lock": lock, "empty": empty}


if __name__ == "__main__":
    compare.run_rows(__doc__, ROWS)
