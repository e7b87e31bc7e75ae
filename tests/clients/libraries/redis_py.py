"""redis-py: scripts, locks, transactions of tags, pub/sub and keyspace notifications, through a crash of the server.

With the client's retries switched off, as in the patterns: a command is acknowledged, refused, or of unknown outcome.
"""

import hashlib
import threading
import time
import uuid

import redis

from control import crash, run, wait_until
from patterns import BROKEN, WORKERS, Load, client

TOKEN_BUCKET = """
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local capacity, rate, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens, at = tonumber(bucket[1]) or capacity, tonumber(bucket[2]) or now
tokens = math.min(capacity, tokens + (now - at) * rate)
local allowed = tokens >= 1
if allowed then tokens = tokens - 1 end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
redis.call('HINCRBY', KEYS[1], allowed and 'allowed' or 'refused', 1)
redis.call('EXPIRE', KEYS[1], 5000)
return {allowed and 1 or 0, tostring(tokens)}
"""

SLIDING_WINDOW = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - ARGV[2])
local count = redis.call('ZCARD', KEYS[1])
if count >= tonumber(ARGV[3]) then return -1 end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[4])
redis.call('EXPIRE', KEYS[1], 5000)
return count + 1
"""

# Writes one number to several keys, gives the last: all or none of it is there after a crash.
SEVERAL = """
local last = redis.call('HGET', KEYS[1], 'n')
for i, key in ipairs(KEYS) do
  if i % 2 == 0 then redis.call('SET', key, ARGV[1]) else redis.call('HSET', key, 'n', ARGV[1]) end
end
return {redis.sha1hex(ARGV[1]), last or '0'}
"""


def token_bucket():
    """6: the bucket and its counts are one script; no token is given twice."""
    acknowledged, unknown = [[0, 0] for _ in range(WORKERS)], [0] * WORKERS
    script = client().register_script(TOKEN_BUCKET)

    def step(connection, worker, n):
        # The clock is the caller's: a token comes with every second call.
        allowed, tokens = script(keys=[f"bucket:{worker}"], args=[10, 0.5, n], client=connection)
        assert 0 <= float(tokens) <= 10, f"{tokens} tokens in a bucket of 10"
        acknowledged[worker][allowed] += 1

    def broke(worker, n):
        unknown[worker] += 1

    Load(step, broke).run_through_crash()
    for worker in range(WORKERS):
        bucket = client().hgetall(f"bucket:{worker}")
        refused, allowed = (int(bucket.get(name, 0)) for name in ("refused", "allowed"))
        least = sum(acknowledged[worker])
        assert least <= refused + allowed <= least + unknown[worker], f"{refused + allowed} calls are counted, {least} were acknowledged"
        assert allowed >= acknowledged[worker][1], "an acknowledged token was given back"
        # What was given and what is there, out of what ever was there.
        assert allowed + float(bucket["tokens"]) <= 10 + 0.5 * float(bucket["at"]), "more tokens than were ever made"
        assert client().ttl(f"bucket:{worker}") > 0, "the script was torn"


def sliding_window():
    """5, as a script, sent in pipelines: redis-py loads it again when the server has lost it."""
    last, acknowledged = [0] * WORKERS, [[] for _ in range(WORKERS)]
    script = client().register_script(SLIDING_WINDOW)

    def step(connection, worker, n):
        last[worker] = n
        with connection.pipeline(transaction=n % 2 == 0) as pipeline:
            script(keys=[f"window:{worker}"], args=[n, 50, 40, f"request-{n}"], client=pipeline)
            pipeline.incr(f"calls:{worker}")
            count, _ = pipeline.execute()
        assert count == -1 or 1 <= count <= 40, f"{count} requests, allowed are 40"
        if count != -1:
            acknowledged[worker].append(n)

    Load(step).run_through_crash()
    for worker in range(WORKERS):
        found = set(client().zrange(f"window:{worker}", 0, -1))
        assert len(found) <= 40, f"{len(found)} requests, allowed are 40"
        missing = [n for n in acknowledged[worker] if n > last[worker] - 50 and f"request-{n}" not in found]
        assert not missing, f"acknowledged requests are not counted: {missing[:5]}"


def scripts_are_whole():
    """What one script writes is there as a whole or not at all; a script that fails keeps what it wrote, as in Redis."""
    highest, attempted = [0] * WORKERS, [0] * WORKERS
    script = client().register_script(SEVERAL)
    halfway = client().register_script("redis.call('SET', KEYS[1], ARGV[1]); return redis.call('INCR', KEYS[2])")

    def keys(worker):
        return [f"several:{worker}:{i}" for i in range(20)]

    def step(connection, worker, n):
        attempted[worker] = n
        digest, last = script(keys=keys(worker), args=[n], client=connection)
        assert digest == hashlib.sha1(str(n).encode()).hexdigest(), f"the digest of {n} is {digest}"
        assert int(last) >= highest[worker], "an acknowledged script is undone"
        highest[worker] = n
        if n % 10 == 0:
            try:
                halfway(keys=[f"half:{worker}", f"several:{worker}:0"], args=[n], client=connection)
            except redis.ResponseError as why:
                assert "WRONGTYPE" in str(why), why
            else:
                raise AssertionError("INCR of a hash")

    Load(step).run_through_crash()
    for worker in range(WORKERS):
        values = {client().hget(key, "n") if at % 2 == 0 else client().get(key) for at, key in enumerate(keys(worker))}
        assert len(values) == 1, f"a script was torn: {sorted(values)}"
        assert highest[worker] <= int(values.pop()) <= attempted[worker], "an acknowledged script is undone"
        assert int(client().get(f"half:{worker}")) >= highest[worker] // 10 * 10, "what was written before the error is undone"


def locks():
    """7: one holder at a time; a lock that was granted is not granted again across the crash."""
    inside, entered, guard = set(), [0] * WORKERS, threading.Lock()
    orphans = {}  # worker -> token whose fate is unknown

    def step(connection, worker, n):
        lock = connection.lock("lock", timeout=600, sleep=0.002)
        if worker in orphans:
            release(lock, orphans[worker])
            del orphans[worker]
        token = uuid.uuid4().hex
        orphans[worker] = token
        if not lock.acquire(blocking_timeout=0.2, token=token):
            del orphans[worker]
            return
        with guard:
            assert not inside, f"worker {worker} holds the lock together with {inside}"
            inside.add(worker)
        entered[worker] += 1
        try:
            if n % 5 == 0:
                lock.extend(600, replace_ttl=True)
                assert lock.owned(), "an extended lock is one's own"
        finally:
            with guard:
                inside.discard(worker)
        lock.release()
        del orphans[worker]

    def release(lock, token):
        try:
            lock.do_release(token)
        except redis.exceptions.LockNotOwnedError:
            pass

    Load(step).run_through_crash(before=60, after=60)
    connection = client()
    assert sum(1 for count in entered if count) >= 2, f"the lock was held by few: {entered}"
    connection.delete("lock")
    held = connection.lock("held", timeout=600)
    assert held.acquire(blocking=False)
    crash()
    other = client()
    assert not other.lock("held", timeout=600).acquire(blocking=False), "the lock is granted a second time"
    held = other.lock("held", timeout=600, thread_local=False) if not held.owned() else held
    assert held.owned(), "the lock is not its holder's any more"
    held.extend(100, replace_ttl=True)
    assert 0 < other.ttl("held") <= 100
    held.release()
    assert other.lock("held", timeout=600).acquire(blocking=False), "a released lock can be had"


def single_flight():
    """2: of all that miss a value, one makes it; the others wait for it and take it."""
    made, guard = {}, threading.Lock()

    def step(connection, worker, n):
        key = f"value:{n // 3}"
        token = f"{worker}-{n}"
        while (value := connection.get(key)) is None:
            if not connection.set(f"{key}:lock", token, nx=True, px=3000):
                time.sleep(0.002)
                continue
            # Another may have made it between the look and the lock.
            if not connection.exists(key):
                with guard:
                    made[key] = made.get(key, 0) + 1
                connection.set(key, f"made by {token}", px=600_000)
            connection.eval("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0", 1, f"{key}:lock", token)
        assert value.startswith("made by "), value
        assert connection.pttl(key) > 0, "a value without an end"

    Load(step).run_through_crash()
    again = [key for key, times in made.items() if times > 1]
    assert len(again) <= WORKERS, f"made more than once: {again}"
    missing = [key for key in made if client().get(key) is None]
    assert len(missing) <= WORKERS, f"values are gone: {missing[:5]}"


def tags():
    """3: a value and its place under its tags are one transaction; invalidation takes all of a tag."""
    acknowledged = [dict() for _ in range(WORKERS)]
    attempted = [dict() for _ in range(WORKERS)]

    def step(connection, worker, n):
        key, tag = f"page:{worker}:{n}", f"tag:{worker}:{n // 20}"
        attempted[worker].setdefault(tag, set()).add(key)
        with connection.pipeline(transaction=True) as pipeline:
            pipeline.setex(key, 5000, f"page {n}")
            pipeline.sadd(tag, key)
            pipeline.expire(tag, 6000)
            pipeline.execute()
        acknowledged[worker].setdefault(tag, set()).add(key)
        if n % 20 == 0 and n > 40:
            old = f"tag:{worker}:{n // 20 - 2}"
            acknowledged[worker].pop(old, None)
            members = connection.smembers(old)
            connection.delete(old, *members)

    Load(step).run_through_crash()
    connection = client()
    for worker in range(WORKERS):
        for tag, keys in acknowledged[worker].items():
            members = connection.smembers(tag)
            assert keys <= members <= attempted[worker][tag], f"{tag} has {len(members)} members, {len(keys)} were acknowledged"
            assert all(connection.mget(sorted(members))), "a tag names a value that is not there: the transaction was torn"
            assert connection.ttl(tag) > 0, f"{tag} never ends: the transaction was torn"


def pub_sub():
    """13: subscriptions come back by themselves; what is published when they stand arrives in order, once."""
    received, stop = {"channel": [], "pattern": [], "shard": []}, threading.Event()
    subscriber = redis.Redis(port=client().connection_pool.connection_kwargs["port"], decode_responses=True).pubsub()
    subscriber.subscribe(news=lambda message: received["channel"].append(message["data"]))
    subscriber.psubscribe(**{"ne*": lambda message: received["pattern"].append((message["channel"], message["data"]))})
    sharded = redis.Redis(port=client().connection_pool.connection_kwargs["port"], decode_responses=True).pubsub()
    sharded.ssubscribe(orders=lambda message: received["shard"].append(message["data"]))

    def listen(own, read):
        while not stop.is_set():
            try:
                read(own)
            except BROKEN:
                time.sleep(0.02)

    readers = [
        threading.Thread(target=listen, args=(subscriber, lambda own: own.get_message(timeout=0.1)), daemon=True),
        threading.Thread(target=listen, args=(sharded, lambda own: own.get_sharded_message(timeout=0.1)), daemon=True),
    ]
    for reader in readers:
        reader.start()
    connection = client()

    def subscribed():
        try:
            numbers = connection.pubsub_numsub("news"), connection.pubsub_shardnumsub("orders")
            return numbers == ([("news", 1)], [("orders", 1)]) and connection.pubsub_numpat() == 1
        except BROKEN:
            return False

    def publish(first):
        for n in range(first, first + 200):
            assert connection.publish("news", n) == 2, "one subscribed to the channel, one to the pattern"
            assert connection.spublish("orders", n) == 1
        wait_until(lambda: all(len(got) >= first + 200 for got in received.values()), "messages arrive")

    wait_until(subscribed, "subscriptions")
    publish(0)
    crash()
    wait_until(subscribed, "subscriptions after the restart")
    assert connection.pubsub_channels() == ["news"]
    publish(200)
    stop.set()
    for reader in readers:
        reader.join(timeout=30)
        assert not reader.is_alive(), "a subscriber hangs"
    wanted = [str(n) for n in range(400)]
    assert received["channel"] == received["shard"] == wanted, "not each message once and in order"
    assert received["pattern"] == [("news", n) for n in wanted], "not each message of the pattern once and in order"
    subscriber.close()
    sharded.close()


def scheduled_expiry():
    """17: work that is due when its key expires; what was set before the crash is announced after it."""
    for ms in (2500, 20_000):
        start = time.monotonic()
        connection = client()
        for n in range(20):
            connection.set(f"due:{n}", n, px=ms)
        crash()
        connection = client()
        there = connection.exists(*(f"due:{n}" for n in range(20)))
        # On a slow machine the restart may take longer than they have: then once more with more time.
        if time.monotonic() - start < ms / 1000:
            break
    assert there == 20, f"{there} of 20 keys are there, and none had come to its end"
    # Events are a setting of the running server, as Redis has it.
    connection.config_set("notify-keyspace-events", "Exg$")
    events = []
    with redis.Redis(port=connection.connection_pool.connection_kwargs["port"], decode_responses=True).pubsub() as subscriber:
        subscriber.psubscribe("__keyevent@0__:*")
        assert subscriber.get_message(timeout=10)["type"] == "psubscribe"
        there = {f"due:{n}" for n in range(20) if connection.exists(f"due:{n}")}
        connection.set("soon", 1, px=20)
        connection.set("deleted", 1)
        connection.delete("deleted")

        def done():
            if message := subscriber.get_message(timeout=0.05):
                events.append((message["channel"].split(":", 1)[1], message["data"]))
            return {key for event, key in events if event == "expired"} >= there | {"soon"}

        wait_until(done, f"the end of {len(there)} keys is announced", 40)
    for wanted in (("set", "soon"), ("expire", "soon"), ("expired", "soon"), ("set", "deleted"), ("del", "deleted")):
        assert events.count(wanted) == 1, f"{wanted} came {events.count(wanted)} times: {events[:10]}"


SCENES = [token_bucket, sliding_window, scripts_are_whole, locks, single_flight, tags, pub_sub, scheduled_expiry]

if __name__ == "__main__":
    raise SystemExit(run(SCENES, lambda: client().flushall()))
