"""arq: jobs, delayed jobs, retries, results, one job of a name, through a crash of the server.

A job is in the queue until its result is stored: at least once. One that was being worked on is tried again when its mark
`arq:in-progress:*` has ended, some ten seconds after the longest time a job may take.
"""

import asyncio
import logging
import sys
import threading

import redis
from arq import Retry, create_pool
from arq.connections import RedisSettings
from arq.jobs import Job, JobStatus
from arq.worker import Worker, func

from common import BROKEN, Ledger, Producer, Workers, check_worked, run, this_script
from control import PORT, wait_until

JOBS_AT_ONCE = 5
ledger, attempts = Ledger(), Ledger("attempts")
settings = RedisSettings(host="127.0.0.1", port=PORT, conn_retries=50, conn_retry_delay=1)

# arq is asynchronous: one loop for all, in a thread of its own.
loop = asyncio.new_event_loop()


def now(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)


async def work(context, name):
    ledger.add(name)
    return f"{name} is done"


async def fail_twice(context, name):
    attempts.add(name)
    if context["job_try"] <= 2:
        raise Retry(defer=0.05)
    ledger.add(name)
    return context["job_try"]


def jobs_through_a_crash():
    pool = now(create_pool(settings))
    workers = Workers(this_script("worker"), 2, supervised=True)

    def send(name):
        # It gives None for a name that is taken, and also when the connection breaks before EXEC is answered.
        if now(pool.enqueue_job("work", name, _job_id=name)) is None:
            raise redis.ConnectionError("unknown outcome")

    producer = Producer(send, broken=(*BROKEN, redis.WatchError))
    later = {f"later-{n}" for n in range(10)}
    never = {f"never-{n}" for n in range(10)}
    for name in later:
        now(pool.enqueue_job("work", name, _job_id=name, _defer_by=1.5))
    for name in never:
        now(pool.enqueue_job("work", name, _job_id=name, _defer_by=100_000))
    retried = [now(pool.enqueue_job("fail_twice", f"retry-{n}")) for n in range(5)]
    producer.acknowledged |= later
    producer.run_through_crash(ledger.rows, before=100, done=30, after=60)
    producer.acknowledged |= {f"retry-{n}" for n in range(5)}
    check_worked(producer, ledger, workers, twice_at_most=2 * JOBS_AT_ONCE)
    tries = [now(job.result(timeout=20)) for job in retried]
    assert all(count >= 3 for count in tries), f"tries were not counted: {tries}"
    name = sorted(producer.acknowledged - later)[0]
    assert now(Job(name, pool).result(timeout=20)) == f"{name} is done", "a result is wrong"
    assert now(pool.enqueue_job("work", name, _job_id=name)) is None, "a job is taken twice although its result is kept"
    for name in never:
        assert now(Job(name, pool).status()) == JobStatus.deferred, f"{name} is {now(Job(name, pool).status())}"
    assert not never & set(ledger.counts()), "a job was worked on before it was due"

    def left():
        workers.check()
        return set(redis.Redis(port=PORT, decode_responses=True).zrange("arq:queue", 0, -1))

    wait_until(lambda: left() == never, "nothing is in the queue but what is not due")
    workers.stop()


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        logging.basicConfig(level=logging.WARNING)
        asyncio.set_event_loop(loop)
        functions = [func(work, timeout=1), func(fail_twice, timeout=1, max_tries=10)]
        Worker(functions, redis_settings=settings, poll_delay=0.05, max_jobs=JOBS_AT_ONCE, job_timeout=1).run()
        sys.exit(0)
    threading.Thread(target=loop.run_forever, daemon=True).start()
    sys.exit(run([jobs_through_a_crash]))
