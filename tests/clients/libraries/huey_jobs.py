"""Huey: tasks, scheduled tasks, retries, results and priorities through a crash of the server.

Huey pops a task with BRPOP (or BZPOPMIN) and keeps no second copy: one that was on its way to a worker when the server died may be lost,
at most one for each worker. No other is.
"""

import logging
import sys

import redis
from huey import PriorityRedisHuey, RedisHuey
from redis.backoff import NoBackoff
from redis.retry import Retry

from common import Ledger, Producer, Workers, check_worked, run, this_script
from control import PORT, crash, wait_until

WORKERS = 3
ledger, attempts = Ledger(), Ledger("attempts")


def pool():
    return redis.ConnectionPool(host="127.0.0.1", port=PORT, retry=Retry(NoBackoff(), 0))


plain = RedisHuey("plain", connection_pool=pool())
by_priority = PriorityRedisHuey("priority", connection_pool=pool(), notify_result=True)


@plain.task()
def work(name):
    ledger.add(name)
    return f"{name} is done"


@plain.task(retries=4, retry_delay=0)
def fail_twice(name):
    attempts.add(name)
    assert attempts.counts()[name] > 2, "not yet"
    ledger.add(name)
    return "at last"


@by_priority.task()
def ranked(name):
    ledger.add(name)
    return name


def tasks_through_a_crash():
    workers = Workers(this_script("plain"))
    producer = Producer(work)
    producer.run_through_crash(ledger.rows, before=150, done=80, after=80)
    wait_until(lambda: (workers.check(), plain.storage.queue_size() == 0)[1], "the queue runs empty")
    check_worked(producer, ledger, workers, twice_at_most=0, lost_at_most=WORKERS)
    workers.stop()


def scheduled_tasks_and_results():
    """Results are read after the crash; what is scheduled waits through it; retries go on."""
    workers = Workers(this_script("plain"))
    before = [work(f"before-{n}") for n in range(20)]
    wait_until(lambda: all(result.is_ready() for result in before), "results")
    soon = {f"soon-{n}": work.schedule((f"soon-{n}",), delay=1) for n in range(20)}
    never = [work.schedule((f"never-{n}",), delay=10_000) for n in range(20)]
    wait_until(lambda: plain.scheduled_count() + plain.pending_count() >= 20, "tasks are scheduled")
    crash()
    for n, result in enumerate(before):
        assert result.get(blocking=True, timeout=5) == f"before-{n} is done", "a result is gone"
    wait_until(lambda: (workers.check(), set(soon) <= set(ledger.counts()))[1], "scheduled tasks are worked on")
    retried = [fail_twice(f"retry-{n}") for n in range(5)]
    wait_until(lambda: (workers.check(), {f"retry-{n}" for n in range(5)} <= set(ledger.counts()))[1], "retries")
    wait_until(lambda: all(plain.storage.peek_data(result.id) == plain.serializer.serialize("at last") for result in retried), "results of retries", 10)
    assert all(attempts.counts()[f"retry-{n}"] == 3 for n in range(5)), f"attempts: {attempts.counts()}"
    wait_until(lambda: plain.pending_count() == 0, "everything is taken from the queue")
    assert plain.scheduled_count() == len(never), f"{plain.scheduled_count()} tasks are scheduled, not {len(never)}"
    assert not any(name.startswith("never") for name in ledger.counts()), "a task was worked on before it was due"
    workers.stop()


def priorities():
    """Accepted before the crash and worked on after it, those of the highest priority first."""
    results = {f"ranked-{n}": ranked(f"ranked-{n}", priority=n * 7 % 10) for n in range(50)}
    crash()
    assert by_priority.pending_count() == 50, "a task is gone"
    workers = Workers(this_script("priority"))
    last = results["ranked-0"]
    assert last.get(blocking=True, timeout=20) == "ranked-0"
    wait_until(lambda: (workers.check(), set(results) <= set(ledger.counts()))[1], "all are worked on")
    order = [int(row[0].split("-")[1]) for row in ledger.rows() if row[0].startswith("ranked")]
    assert order == sorted(range(50), key=lambda n: (-(n * 7 % 10), n)), f"not in order: {order}"
    workers.stop()


if __name__ == "__main__":
    if sys.argv[1:]:
        logging.basicConfig(level=logging.WARNING)
        huey, count = (plain, WORKERS) if sys.argv[1] == "plain" else (by_priority, 1)
        huey.create_consumer(workers=count, periodic=False, scheduler_interval=0.2, max_delay=0.5, backoff=1.5, initial_delay=0.05).run()
        sys.exit(0)
    sys.exit(run([tasks_through_a_crash, scheduled_tasks_and_results, priorities]))
