"""Dramatiq: messages, delays, retries, results and rate limits through a crash of the server.

Every message is in a hash until it is acknowledged. What a worker had fetched goes back to the queue when its broker has not been
heard of for the heartbeat's time, which is short here: at least once.
"""

import logging
import signal
import sys
import time

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, Retries
from dramatiq.rate_limits import ConcurrentRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as RateLimits
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from redis.backoff import NoBackoff
from redis.retry import Retry

from common import Ledger, Producer, Workers, check_worked, run, this_script
from control import PORT, crash, wait_until

THREADS = 3
ledger, attempts, inside = Ledger(), Ledger("attempts"), Ledger("inside")


def client():
    return redis.Redis(port=PORT, retry=Retry(NoBackoff(), 0))


results = RedisBackend(client=client())
# Maintenance with every command, so that what nobody acknowledged comes back as soon as it may.
broker = RedisBroker(
    client=client(),
    middleware=[AgeLimit(), Retries(), Results(backend=results)],
    heartbeat_timeout=2000,
    maintenance_chance=1_000_000,
)
dramatiq.set_broker(broker)
one_at_a_time = ConcurrentRateLimiter(RateLimits(client=client()), "one-at-a-time", limit=1, ttl=60_000)


@dramatiq.actor(store_results=True, max_backoff=200, min_backoff=10)
def work(name):
    ledger.add(name)
    return f"{name} is done"


@dramatiq.actor(max_retries=10, min_backoff=10, max_backoff=50)
def fail_twice(name):
    attempts.add(name)
    if attempts.counts()[name] <= 2:
        raise ValueError("not yet")
    ledger.add(name)


@dramatiq.actor(max_retries=200, min_backoff=5, max_backoff=30)
def alone(name):
    with one_at_a_time.acquire():
        inside.add("in", name)
        time.sleep(0.005)
        inside.add("out", name)
    ledger.add(name)


def messages_through_a_crash():
    workers = Workers(this_script("worker"))
    producer = Producer(work.send)
    producer.run_through_crash(ledger.rows, before=120, done=60, after=60)
    # A broker that stays alive keeps what it has fetched; a new one takes it over when the old one is gone.
    wait_until(lambda: (workers.check(), len(producer.acknowledged - set(ledger.counts())) <= 2 * THREADS)[1], "the queue")
    workers.stop()
    workers.start()
    check_worked(producer, ledger, workers, twice_at_most=4 * THREADS)
    workers.stop()


def delays_retries_results():
    kept = [work.send(f"kept-{n}") for n in range(20)]
    for n in range(20):
        work.send_with_options(args=(f"soon-{n}",), delay=500)
    never = [work.send_with_options(args=(f"never-{n}",), delay=86_400_000) for n in range(20)]
    workers = Workers(this_script("worker"))
    assert kept[0].get_result(backend=results, block=True, timeout=20_000) == "kept-0 is done"
    crash()
    wanted = {f"{kind}-{n}" for kind in ("kept", "soon") for n in range(20)}
    workers.stop()
    workers.start()
    wait_until(lambda: (workers.check(), wanted <= set(ledger.counts()))[1], "messages that are due are worked on")
    assert kept[0].get_result(backend=results) == "kept-0 is done", "a result is gone"
    for n in range(5):
        fail_twice.send(f"retry-{n}")
    wait_until(lambda: (workers.check(), {f"retry-{n}" for n in range(5)} <= set(ledger.counts()))[1], "retries")
    workers.stop()
    assert not any(name.startswith("never") for name in ledger.counts()), "a message was worked on before it was due"
    held = client().hlen("dramatiq:default.DQ.msgs")
    assert held == len(never), f"{held} messages wait for their time, not {len(never)}"


def rate_limit():
    """At most one at a time; the crash neither frees the place nor takes it for ever."""
    workers = Workers(this_script("worker"))
    names = {f"alone-{n}" for n in range(20)}
    for name in names:
        alone.send(name)
    wait_until(lambda: any(name in names for name in ledger.counts()), "work under the limit")
    workers.stop()
    with one_at_a_time.acquire(raise_on_failure=False) as free:
        assert free, "the limit is held by nobody"
        crash()
        with one_at_a_time.acquire(raise_on_failure=False) as second:
            assert not second, "the place was given twice"
    workers.start()
    wait_until(lambda: (workers.check(), names <= set(ledger.counts()))[1], "all come to their turn", 40)
    workers.stop()
    rows = inside.rows()
    assert all(rows[at][0] == "in" and rows[at + 1] == ["out", rows[at][1]] for at in range(0, len(rows), 2)), "two at a time"


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        logging.basicConfig(level=logging.WARNING)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # in all threads: sigwait gets it
        worker = dramatiq.Worker(broker, worker_threads=THREADS, worker_timeout=200)
        worker.start()
        signal.sigwait([signal.SIGTERM])
        worker.stop(2000)
        sys.exit(0)
    sys.exit(run([messages_through_a_crash, delays_retries_results, rate_limit]))
