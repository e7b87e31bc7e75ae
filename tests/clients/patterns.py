"""Patterns as applications use them, with redis-py and a SIGKILL in the middle of each.

Retries are off: a command that is sent twice could not be accounted for. Every command is either acknowledged, or refused
before it was sent, or its outcome is unknown because the connection broke; the checks allow exactly that.
"""

import json
import os
import sys
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from control import PORT, crash, run, wait_until

WORKERS = 4
BROKEN = (redis.ConnectionError, redis.TimeoutError, OSError)


def client():
    return redis.Redis(port=PORT, decode_responses=True, retry=Retry(NoBackoff(), 0), socket_timeout=30)


class Load:
    """Workers that repeat `step(client, worker, n)`; a broken connection goes to `unknown(worker, n)`."""

    def __init__(self, step, unknown=lambda worker, n: None, workers=WORKERS):
        self.step, self.unknown = step, unknown
        self.stopping = threading.Event()
        self.acknowledged = 0
        self.failures = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(i,), daemon=True) for i in range(workers)]

    def work(self, worker):
        connection = client()
        n = 0
        while not self.stopping.is_set():
            n += 1
            try:
                self.step(connection, worker, n)
                with self.lock:
                    self.acknowledged += 1
            except BROKEN:
                self.unknown(worker, n)
                time.sleep(0.02)
            except Exception as why:  # reported by the main thread
                self.failures.append(why)
                return

    def run_through_crash(self, before=200, after=100):
        """Load, a crash in the middle of it, more load."""
        for thread in self.threads:
            thread.start()
        wait_until(lambda: self.failures or self.acknowledged >= before, "load before the crash")
        crash()
        seen = self.acknowledged
        wait_until(lambda: self.failures or self.acknowledged >= seen + after, "load after the crash")
        self.stop()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), "a worker hangs"
        if self.failures:
            raise self.failures[0]


def cache_aside():
    """1: values with lifetimes, written through and invalidated, also in pipelines."""
    expected = {}  # key -> set of allowed values, None for absent
    deadlines = {}

    def step(connection, worker, n):
        key, value = f"cache:{worker}:{n % 50}", f"value-{n}"
        previous = expected.get(key, {None})
        if n % 7 == 0:
            expected[key] = previous | {None}
            (connection.delete if n % 2 else connection.unlink)(key)
            expected[key] = {None}
        elif n % 5 == 0:
            other = f"cache:{worker}:p{n % 50}"
            expected[other] = expected.get(other, {None}) | {value}
            expected[key] = previous | {value}
            pipeline = connection.pipeline(transaction=False)
            pipeline.setex(other, 1000, value)
            pipeline.set(key, value, ex=2000)
            pipeline.execute()
            expected[key] = expected[other] = {value}
        else:
            expected[key] = previous | {value}
            connection.set(key, value, ex=1000)
            expected[key] = {value}
            assert connection.get(key) == value, "a write-through is read back"

    setup = client()
    for n in range(20):
        setup.setex(f"lifetime:{n}", 1000 + n, "v")
        deadlines[f"lifetime:{n}"] = setup.pexpiretime(f"lifetime:{n}")
    Load(step).run_through_crash()
    connection = client()
    for key, allowed in expected.items():
        found = connection.get(key)
        assert found in allowed, f"{key} is {found!r}, allowed are {allowed}"
        assert found is None or connection.ttl(key) > 0, f"{key} has lost its lifetime"
    for key, deadline in deadlines.items():
        assert connection.pexpiretime(key) == deadline, f"{key} expires at another time after the restart"


def fixed_window_rate_limit():
    """4: INCR and EXPIRE in one transaction."""
    acknowledged, unknown = [0] * WORKERS, [0] * WORKERS
    highest = [0] * WORKERS

    def step(connection, worker, n):
        pipeline = connection.pipeline(transaction=True)
        pipeline.incr(f"limit:{worker}")
        pipeline.expire(f"limit:{worker}", 5000, nx=True)
        count, _ = pipeline.execute()
        assert count > highest[worker], f"the counter went back from {highest[worker]} to {count}"
        highest[worker] = count
        acknowledged[worker] += 1

    def broke(worker, n):
        unknown[worker] += 1

    Load(step, broke).run_through_crash()
    connection = client()
    for worker in range(WORKERS):
        count = int(connection.get(f"limit:{worker}"))
        least, most = acknowledged[worker], acknowledged[worker] + unknown[worker]
        assert least <= count <= most, f"limit:{worker} is {count}, not within {least}..{most}"
        assert connection.ttl(f"limit:{worker}") > 0, f"limit:{worker} never ends: the transaction was torn"


def sliding_window_rate_limit():
    """5: a sorted set of the times of requests; those that left the window are removed in the same transaction."""
    window = 50
    attempted, acknowledged = [0] * WORKERS, [[] for _ in range(WORKERS)]

    def step(connection, worker, n):
        key = f"window:{worker}"
        attempted[worker] = n
        pipeline = connection.pipeline(transaction=True)
        pipeline.zremrangebyscore(key, "-inf", n - window)
        pipeline.zadd(key, {f"request-{n}": n})
        pipeline.zcard(key)
        pipeline.expire(key, 5000)
        _, added, count, _ = pipeline.execute()
        assert added == 1 and 1 <= count <= window, f"{count} requests within {window}"
        acknowledged[worker].append(n)

    Load(step).run_through_crash()
    connection = client()
    for worker in range(WORKERS):
        found = {member: score for member, score in connection.zrange(f"window:{worker}", 0, -1, withscores=True)}
        assert all(member == f"request-{int(score)}" for member, score in found.items()), "a score of another request"
        last = attempted[worker]
        missing = [n for n in acknowledged[worker] if n > last - window and f"request-{n}" not in found]
        assert not missing, f"acknowledged requests are not counted: {missing[:5]}"
        assert min(found.values()) > acknowledged[worker][-1] - window, "requests that had left the window are back"
        assert connection.ttl(f"window:{worker}") > 0, "the window never ends: the transaction was torn"


def delayed_jobs():
    """12: jobs wait in a sorted set until they are due, then in one by priority that BZPOPMIN takes from."""
    pushed, attempted, popped = set(), set(), []
    broken_pops = [0]

    def produce(connection, worker, n):
        job = f"job-{worker}-{n}"
        attempted.add(job)
        # Every fourth is due at a time that never comes.
        connection.zadd("delayed", {job: time.time() + (1_000_000 if n % 4 == 0 else 0.05 * (n % 3))})
        pushed.add(job)

    def move_due(connection, worker, n):
        due = connection.zrangebyscore("delayed", "-inf", time.time(), start=0, num=20)
        for job in due:
            pipeline = connection.pipeline(transaction=True)
            pipeline.zrem("delayed", job)
            pipeline.zadd("ready", {job: int(job.rsplit("-", 1)[1]) % 5})
            pipeline.execute()
        if not due:
            time.sleep(0.01)

    def consume(connection, worker, n):
        reply = connection.bzpopmin(["ready"], timeout=1)
        if reply:
            _, job, priority = reply
            assert int(job.rsplit("-", 1)[1]) % 5 == priority, f"{job} has priority {priority}"
            popped.append(job)

    def consume_broke(worker, n):
        broken_pops[0] += 1

    consumers = [Load(move_due, workers=1), Load(consume, consume_broke, workers=2)]
    for load in consumers:
        for thread in load.threads:
            thread.start()
    Load(produce, workers=2).run_through_crash(before=400, after=200)
    connection = client()

    def idle():
        return not connection.exists("ready") and connection.zcount("delayed", "-inf", time.time() + 1000) == 0

    wait_until(lambda: any(load.failures for load in consumers) or idle(), "the queues run empty")
    for load in consumers:
        load.stop()
    assert len(set(popped)) == len(popped), "a job was popped twice"
    assert set(popped) <= attempted, "a job that nobody made"
    late = {job for job in pushed if int(job.rsplit("-", 1)[1]) % 4 == 0}
    waiting = set(connection.zrange("delayed", 0, -1))
    assert late <= waiting <= attempted, f"lost before it was due: {sorted(late - waiting)[:5]}"
    missing = pushed - late - set(popped)
    assert len(missing) <= broken_pops[0], f"lost: {sorted(missing)[:5]}"


def leaderboard():
    """14: points are added up; ranks and the top ten are read at the same time."""
    players = [f"player:{i}" for i in range(200)]
    points, unknown = [dict() for _ in range(WORKERS)], [dict() for _ in range(WORKERS)]

    def of(worker, n):
        return players[(worker * 53 + n * n) % 200], n % 9 + 1

    def step(connection, worker, n):
        player, more = of(worker, n)
        score = connection.zincrby("board", more, player)
        points[worker][player] = points[worker].get(player, 0) + more
        assert score >= points[worker][player], "points were lost"
        if n % 10 == 0:
            top = connection.zrevrange("board", 0, 9, withscores=True)
            assert [s for _, s in top] == sorted((s for _, s in top), reverse=True), f"not in order: {top}"
            assert connection.zrevrank("board", player) is not None, "a player with points has a rank"

    def broke(worker, n):
        player, more = of(worker, n)
        unknown[worker][player] = unknown[worker].get(player, 0) + more

    Load(step, broke).run_through_crash()
    connection = client()
    board = connection.zrange("board", 0, -1, desc=True, withscores=True)
    assert board == sorted(board, key=lambda row: (row[1], row[0]), reverse=True), "the board is in order"
    for rank, (player, score) in enumerate(board):
        least = sum(worker.get(player, 0) for worker in points)
        most = least + sum(worker.get(player, 0) for worker in unknown)
        assert least <= score <= most, f"{player} has {score}, not within {least}..{most}"
        assert connection.zrevrank("board", player) == rank, f"{player} is not at rank {rank}"
    assert {player for worker in points for player in worker} <= {player for player, _ in board}, "a player is gone"


def session_store():
    """8: sessions as hashes and as JSON strings; nobody is logged out."""
    hashes, strings = {}, {}

    def step(connection, worker, n):
        key, fields = f"session:h:{worker}:{n}", {"user": f"u{n}", "cart": "x" * (n % 50), "seen": str(n)}
        connection.hset(key, mapping=fields)
        hashes[key] = (fields, False)
        connection.expire(key, 3000)
        hashes[key] = (fields, True)
        key, body = f"session:s:{worker}:{n}", json.dumps({"id": n, "roles": ["a", "b"]})
        connection.set(key, body, ex=3000)
        strings[key] = body

    Load(step).run_through_crash(before=300)
    connection = client()
    for key, (fields, has_lifetime) in hashes.items():
        assert connection.hgetall(key) == fields, f"{key} is {connection.hgetall(key)}"
        assert not has_lifetime or connection.ttl(key) > 2000, f"{key} has lost its lifetime"
    keys = list(strings)
    for start in range(0, len(keys), 100):
        some = keys[start : start + 100]
        assert connection.mget(some) == [strings[key] for key in some], "MGET gives all sessions"
    scanned = set(connection.scan_iter(match="session:*", count=100))
    assert scanned >= set(keys) | set(hashes), f"SCAN misses {len((set(keys) | set(hashes)) - scanned)} sessions"


def list_queue():
    """9: BRPOP workers, and the reliable queue with BLMOVE and LREM."""
    pushed, popped, moved, finished = set(), [], [], set()
    attempted, maybe_finished = set(), set()
    in_flight_lost = [0]

    def produce(connection, worker, n):
        job = f"job-{worker}-{n}"
        attempted.add(job)
        if n % 2:
            connection.lpush("queue", job)
        else:
            connection.rpush("reliable", job)
        pushed.add(job)

    def consume(connection, worker, n):
        reply = connection.brpop(["queue"], timeout=1)
        if reply:
            popped.append(reply[1])

    def consume_broke(worker, n):
        in_flight_lost[0] += 1

    def consume_reliably(connection, worker, n):
        job = connection.blmove("reliable", "processing", 1, src="LEFT", dest="RIGHT")
        if job:
            moved.append(job)
            maybe_finished.add(job)
            assert connection.lrem("processing", 1, job) == 1, f"{job} was taken by nobody else"
            finished.add(job)

    consumers = [Load(consume, consume_broke, workers=2), Load(consume_reliably, workers=2)]
    for load in consumers:
        for thread in load.threads:
            thread.start()
    Load(produce, workers=2).run_through_crash(before=400, after=200)
    connection = client()
    wait_until(lambda: any(load.failures for load in consumers) or not connection.exists("queue", "reliable"), "the queues run empty")
    for load in consumers:
        load.stop()
    twice = {job for job in popped if popped.count(job) > 1} | {job for job in finished if moved.count(job) > 1}
    assert not twice, f"popped twice: {sorted(twice)[:5]}"
    assert set(popped) | set(moved) <= attempted, "a job that nobody made"
    odd = {job for job in pushed if int(job.rsplit("-", 1)[1]) % 2}
    missing = odd - set(popped)
    assert len(missing) <= in_flight_lost[0], f"lost from the queue: {sorted(missing)[:5]}"
    processing = set(connection.lrange("processing", 0, -1))
    missing = pushed - odd - finished - processing - maybe_finished
    assert not missing, f"lost from the reliable queue: {sorted(missing)[:5]}"
    assert not (finished & processing), "an acknowledged LREM is undone"


def counters_and_analytics():
    """15: every visit counts hits, a visitor in a HyperLogLog, a bit and a field, in one transaction."""
    acknowledged, unknown = [[] for _ in range(WORKERS)], [0] * WORKERS

    def step(connection, worker, n):
        pipeline = connection.pipeline(transaction=True)
        pipeline.incr(f"hits:{worker}")
        pipeline.pfadd(f"visitors:{worker}", f"{worker}-{n}")
        pipeline.setbit(f"active:{worker}", n, 1)
        pipeline.hincrby(f"pages:{worker}", f"page-{n % 5}", 1)
        pipeline.incrbyfloat(f"revenue:{worker}", 0.5)
        pipeline.execute()
        acknowledged[worker].append(f"{worker}-{n}")
        if n % 50 == 0:
            connection.pfcount(f"visitors:{worker}")
            connection.pfmerge(f"all:{worker}", f"visitors:{worker}")

    def broke(worker, n):
        unknown[worker] += 1

    Load(step, broke).run_through_crash()
    connection = client()
    for worker in range(WORKERS):
        hits = int(connection.get(f"hits:{worker}"))
        least, most = len(acknowledged[worker]), len(acknowledged[worker]) + unknown[worker]
        assert least <= hits <= most, f"hits:{worker} is {hits}, not within {least}..{most}"
        assert connection.bitcount(f"active:{worker}") == hits, "a transaction was torn: bits"
        assert sum(map(int, connection.hvals(f"pages:{worker}"))) == hits, "a transaction was torn: pages"
        assert float(connection.get(f"revenue:{worker}")) == hits / 2, "a transaction was torn: revenue"
        estimate = connection.pfcount(f"visitors:{worker}")
        assert abs(estimate - hits) <= 5 + hits * 0.05, f"{estimate} visitors are estimated, {hits} came"
        again = connection.pfadd(f"visitors:{worker}", *acknowledged[worker])
        assert again == 0, "an acknowledged visitor is not in the HyperLogLog"
    keys = [f"visitors:{worker}" for worker in range(WORKERS)]
    connection.pfmerge("everybody", *keys)
    assert connection.pfcount("everybody") == connection.pfcount(*keys), "a merge is not the union"


def geo_search():
    """16: drivers that move, found by those near them."""
    stored = set()
    places = {}  # driver -> places where it may be, None for nowhere

    def step(connection, worker, n):
        driver = f"driver-{worker}-{n % 20}"
        place = (13 + worker + (n * 37 % 1000) / 1000, 38 + (n * 91 % 1000) / 1000)
        places[driver] = places.get(driver, {None}) | {place}
        connection.geoadd("drivers", (*place, driver))
        places[driver] = {place}
        near = connection.geosearch("drivers", longitude=place[0], latitude=place[1], radius=20, unit="m")
        assert driver in near, f"{driver} is not where it was put"
        if n % 10 == 0:
            count = connection.geosearchstore(
                f"near:{worker}", "drivers", member=driver, width=400, height=400, unit="km", storedist=True
            )
            assert count > 0, "a driver is near itself"
            stored.add(f"near:{worker}")

    Load(step).run_through_crash()
    connection = client()
    for driver, allowed in places.items():
        found = connection.geopos("drivers", driver)[0]
        if found is None:
            assert None in allowed, f"{driver} is gone"
            continue
        same = [p for p in allowed if p and abs(p[0] - found[0]) < 1e-5 and abs(p[1] - found[1]) < 1e-5]
        assert same, f"{driver} is at {found}, allowed are {allowed}"
        assert connection.geodist("drivers", driver, driver) == 0
    for key in stored:
        assert connection.type(key) == "zset", f"{key} was stored and is gone"


def messages_of(reply):
    """The messages of a read of one stream, whatever the protocol."""
    if not reply:
        return []
    if isinstance(reply, dict):
        ((_, messages),) = reply.items()
        return messages[0] if messages and isinstance(messages[0], list) else messages
    return reply[0][1]


def stream_queue():
    """10: a stream, a group and its workers; what they leave behind is claimed and worked on by another one."""
    connection = client()
    connection.xgroup_create("jobs", "workers", id="0", mkstream=True)
    added, attempted = {}, set()  # job -> id
    seen, acknowledged, maybe_acknowledged = {}, set(), set()
    lock = threading.Lock()

    def produce(connection, worker, n):
        job = f"job-{worker}-{n}"
        attempted.add(job)
        added[job] = connection.xadd("jobs", {"job": job, "payload": "x" * (n % 60)})

    def consume(connection, worker, n):
        reply = connection.xreadgroup("workers", f"worker-{worker}", {"jobs": ">"}, count=5, block=200)
        messages = messages_of(reply)
        with lock:
            for id, fields in messages:
                assert id not in seen, f"{id} was delivered twice"
                seen[id] = fields["job"]
        # Every fourth is never finished.
        done = [id for id, fields in messages if int(fields["job"].rsplit("-", 1)[1]) % 4]
        if done:
            maybe_acknowledged.update(done)
            assert connection.xack("jobs", "workers", *done) == len(done), "others acknowledged it too"
            acknowledged.update(done)

    workers = Load(consume)
    for thread in workers.threads:
        thread.start()
    Load(produce, workers=2).run_through_crash(before=400, after=200)
    wait_until(lambda: workers.failures or connection.xinfo_groups("jobs")[0]["lag"] == 0, "the group reads everything")
    workers.stop()

    entries = {id: fields["job"] for id, fields in connection.xrange("jobs")}
    lost = [job for job, id in added.items() if entries.get(id) != job]
    assert not lost, f"acknowledged messages are lost: {sorted(lost)[:5]}"
    assert set(entries.values()) <= attempted and len(set(entries.values())) == len(entries), "a job that nobody made"
    assert all(entries.get(id) == job for id, job in seen.items()), "a message that was delivered is not there any more"
    pending = {row["message_id"]: row for row in connection.xpending_range("jobs", "workers", "-", "+", count=1_000_000)}
    assert not (acknowledged & set(pending)), "an acknowledged message is pending"
    missing = set(entries) - maybe_acknowledged - set(pending)
    assert not missing, f"messages that nobody acknowledged are not pending: {sorted(missing)[:5]}"
    assert all(row["times_delivered"] == 1 for row in pending.values()), "a message was delivered more than once"

    cursor, claimed = "0-0", {}
    while True:
        cursor, messages, _ = connection.xautoclaim("jobs", "workers", "rescuer", 0, start_id=cursor, count=50)
        claimed.update((id, fields["job"]) for id, fields in messages)
        if cursor == "0-0":
            break
    assert set(claimed) == set(pending), "what is claimed is what was pending"
    assert all(entries[id] == job for id, job in claimed.items()), "a claimed message has another content"
    for row in connection.xpending_range("jobs", "workers", "-", "+", count=1_000_000):
        assert row["consumer"] == "rescuer" and row["times_delivered"] == 2, f"claimed, and yet {row}"
    assert connection.xack("jobs", "workers", *claimed) == len(claimed)
    assert connection.xpending("jobs", "workers")["pending"] == 0
    assert not messages_of(connection.xreadgroup("workers", "rescuer", {"jobs": ">"})), "something was not delivered"


def event_sourcing():
    """11: events are appended to a stream that readers tail; feeds of the latest hundred beside it."""
    appended, fed = [[] for _ in range(WORKERS)], [[] for _ in range(WORKERS)]
    read = [[] for _ in range(2)]

    def append(connection, worker, n):
        id = connection.xadd("events", {"worker": str(worker), "n": str(n)})
        appended[worker].append((id, {"worker": str(worker), "n": str(n)}))
        pipeline = connection.pipeline(transaction=True)
        pipeline.lpush(f"feed:{worker}", n)
        pipeline.ltrim(f"feed:{worker}", 0, 99)
        pipeline.execute()
        fed[worker].append(n)

    def tail(connection, worker, n):
        position = read[worker][-1][0] if read[worker] else "0-0"
        read[worker].extend((id, fields) for id, fields in messages_of(connection.xread({"events": position}, count=100, block=200)))

    readers = Load(tail, workers=2)
    for thread in readers.threads:
        thread.start()
    Load(append).run_through_crash(before=400, after=200)
    connection = client()
    last = connection.xinfo_stream("events")["last-generated-id"]
    wait_until(lambda: readers.failures or all(events[-1:] and events[-1][0] == last for events in read), "readers come to the end")
    readers.stop()
    events = [(id, fields) for id, fields in connection.xrange("events")]
    for seen in read:
        assert seen == events, "a reader saw an event that is gone, or missed one"
    state = [0] * WORKERS
    for _, fields in events:
        worker, n = int(fields["worker"]), int(fields["n"])
        assert n > state[worker], "an event is there twice, or before its time"
        state[worker] = n
    known = dict(events)
    for worker in range(WORKERS):
        lost = [id for id, fields in appended[worker] if known.get(id) != fields]
        assert not lost, f"acknowledged events are lost: {lost[:5]}"
        feed = [int(n) for n in connection.lrange(f"feed:{worker}", 0, -1)]
        assert len(feed) <= 100 and feed == sorted(set(feed), reverse=True), f"not the latest events: {feed}"
        assert all(n in feed for n in fed[worker] if n > feed[-1]), "an event is not in the feed"
        assert feed[0] >= fed[worker][-1], "the feed has lost its latest event"


def optimistic_transactions():
    """18: transfers between accounts with WATCH, MULTI and EXEC; the total never changes."""
    accounts = [f"account:{i}" for i in range(5)]
    setup = client()
    setup.mset({account: 1000 for account in accounts})
    done, unknown = [0] * WORKERS, [0] * WORKERS

    def step(connection, worker, n):
        source, target = accounts[(worker + n) % 5], accounts[(worker + 2 * n + 1) % 5]
        with connection.pipeline() as pipeline:
            while True:
                try:
                    pipeline.watch(source, target)
                    have = int(pipeline.get(source))
                    amount = min(have, n % 7 + 1)
                    pipeline.multi()
                    pipeline.decrby(source, amount)
                    pipeline.incrby(target, amount)
                    pipeline.incr(f"transfers:{worker}")
                    pipeline.execute()
                    done[worker] += 1
                    return
                except redis.WatchError:
                    continue

    def broke(worker, n):
        unknown[worker] += 1

    Load(step, broke).run_through_crash()
    connection = client()
    balances = [int(balance) for balance in connection.mget(accounts)]
    assert sum(balances) == 5000, f"money was made or lost: {balances}"
    assert min(balances) >= 0, f"an account is overdrawn: {balances}"
    for worker in range(WORKERS):
        count = int(connection.get(f"transfers:{worker}"))
        assert done[worker] <= count <= done[worker] + unknown[worker], f"{count} transfers, {done[worker]} acknowledged"


PATTERNS = [
    cache_aside,
    fixed_window_rate_limit,
    sliding_window_rate_limit,
    session_store,
    list_queue,
    stream_queue,
    event_sourcing,
    delayed_jobs,
    leaderboard,
    counters_and_analytics,
    geo_search,
    optimistic_transactions,
]


def chosen():
    """All patterns once; in a soak those with streams, again and again until its time is over."""
    soak_s = float(os.environ.get("SOAK_S", "0"))
    if not soak_s:
        yield from PATTERNS
    deadline = time.monotonic() + soak_s
    while time.monotonic() < deadline:
        yield from (stream_queue, event_sourcing)


def main():
    return run(chosen(), lambda: client().flushall())


if __name__ == "__main__":
    sys.exit(main())
