"""Celery over kombu's Redis transport, results in Redis: late acknowledgement, countdowns, retries, a chord, through a crash.

A task is in the hash `unacked` from when a worker takes it until it is done; a worker that starts gives back what is there for longer
than the visibility timeout: at least once. But kombu takes tasks with BRPOP before it puts them there: one for each worker may be lost
when the server dies between the two.
"""

import os
import sys
import time

import redis
from celery import Celery, chord
from kombu.exceptions import OperationalError

from common import BROKEN, URL, Ledger, Producer, Workers, check_worked, run
from control import PORT, crash, wait_until

VISIBILITY_S = 2
CONCURRENCY = 2
ledger, attempts = Ledger(), Ledger("attempts")

app = Celery("celery_jobs", broker=URL, backend=URL)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=2,
    broker_transport_options={"visibility_timeout": VISIBILITY_S, "socket_timeout": 30},
    broker_connection_retry_on_startup=True,
    broker_pool_limit=4,
    result_expires=600,
    worker_hijack_root_logger=False,
)


@app.task
def work(name):
    ledger.add(name)
    return f"{name} is done"


@app.task(bind=True, max_retries=5)
def fail_twice(self, name):
    attempts.add(name)
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    ledger.add(name)
    return self.request.retries


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def number(n):
    return n


def started():
    command = [sys.executable, "-W", "ignore", "-m", "celery", "--workdir", os.path.dirname(os.path.abspath(__file__))]
    return Workers([*command, "-A", "celery_jobs", "worker", "-c", str(CONCURRENCY), "-l", "WARNING"], supervised=True)


def client():
    return redis.Redis(port=PORT)


def restarted(workers):
    """Workers as of now, when all that nobody acknowledged is visible again."""
    workers.stop()
    wait_until(lambda: not client().zcount("unacked_index", time.time() - VISIBILITY_S, "+inf"), "unacknowledged tasks become visible", 20)
    workers.start()


def send(name):
    # Sent again by itself it could not be accounted for.
    work.apply_async((name,), task_id=name, retry=False)


def tasks_through_a_crash():
    workers = started()
    producer = Producer(send, broken=(*BROKEN, OperationalError), pause_s=0.005)
    producer.run_through_crash(ledger.rows, before=120, done=40, after=60)
    in_flight = CONCURRENCY * 3

    def few():
        workers.check()
        return len(producer.acknowledged - set(ledger.counts())) <= in_flight

    wait_until(few, "the queue runs empty", 60)
    restarted(workers)
    check_worked(producer, ledger, workers, twice_at_most=2 * in_flight, lost_at_most=1)
    some = sorted(producer.acknowledged & set(ledger.counts()))[:20]
    for name in some:
        assert app.AsyncResult(name).get(timeout=20) == f"{name} is done", "a result is wrong"
    workers.stop()


def countdowns_retries_chord():
    for n in range(10):
        work.apply_async((f"soon-{n}",), countdown=2)
    kept = [work.apply_async((f"kept-{n}",), task_id=f"kept-{n}") for n in range(20)]
    workers = started()
    assert kept[0].get(timeout=30) == "kept-0 is done"
    crash()
    assert app.AsyncResult("kept-0").get(timeout=20) == "kept-0 is done", "a result is gone"
    wanted = {f"kept-{n}" for n in range(20)} | {f"soon-{n}" for n in range(10)}
    restarted(workers)
    wait_until(lambda: (workers.check(), len(wanted - set(ledger.counts())) <= 1)[1], "tasks that are due are worked on", 60)
    retried = [fail_twice.delay(f"retry-{n}") for n in range(5)]
    assert [result.get(timeout=30) for result in retried] == [2] * 5, "the count of retries"
    assert chord([number.s(n) for n in range(10)])(total.s()).get(timeout=30) == 45, "a chord's total"
    wait_until(lambda: client().hlen("unacked") == 0, "everything is acknowledged", 20)
    assert client().llen("celery") == 0
    workers.stop()


if __name__ == "__main__":
    sys.modules["celery_jobs"] = sys.modules["__main__"]
    sys.exit(run([tasks_through_a_crash, countdowns_retries_chord]))
