"""RQ: jobs in forked workers, scheduled jobs, dependencies, retries, results, through a crash of the server.

RQ moves a job to an intermediate list, then to the registry of started jobs: a job that was being worked on when the server died is
in one of the two and is brought back by the cleanup that RQ's workers do after a minute; here it is called at once. (A worker of several queues
takes jobs with BLPOP instead: what is on its way then is lost, whatever the server does.)
"""

import logging
import sys
import time
from datetime import timedelta

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, Repeat, Worker
from rq import Retry as RetryJob
from rq.exceptions import DuplicateJobError
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.scheduler import RQScheduler

from common import Ledger, Producer, Workers, check_worked, run, this_script
from control import PORT, crash, wait_until

WORKERS = 2
ledger, attempts = Ledger(), Ledger("attempts")
connection = redis.Redis(port=PORT, retry=Retry(NoBackoff(), 0))
workers = None


def work(name):
    ledger.add(name)
    return f"{name} is done"


def fail_twice(name):
    attempts.add(name, time.time())
    assert attempts.counts()[name] > 2, "not yet"
    return work(name)


def jobs_through_a_crash():
    queue = Queue("work", connection=connection)

    def worked():
        workers.check()
        return ledger.rows()

    producer = Producer(lambda name: queue.enqueue("rq_jobs.work", name, job_id=name, result_ttl=600), pause_s=0.02)
    producer.run_through_crash(worked)

    def in_flight():
        return IntermediateQueue(queue.key, connection).get_job_ids(), StartedJobRegistry(queue=queue).get_job_ids(cleanup=False)

    def missing():
        return producer.acknowledged - set(ledger.counts())

    wait_until(lambda: (workers.check(), len(queue) == 0)[1], "the queue runs empty", 40)
    wait_until(lambda: (workers.check(), len(missing()) <= WORKERS)[1], "all but those in flight are worked on")
    lost = missing()
    visible = {job.split(":")[0] for job in sum(in_flight(), [])} | set(FailedJobRegistry(queue=queue).get_job_ids())
    assert lost <= visible | set(ledger.counts()), f"lost: {sorted(lost - visible)[:5]}"
    bring_back(queue, lost)
    check_worked(producer, ledger, workers, twice_at_most=2 * WORKERS)
    done = sorted(producer.acknowledged - lost)
    wait_until(lambda: all(Job.fetch(job, connection=connection).is_finished for job in done[-5:]), "the last jobs are finished")
    results = {job: Job.fetch(job, connection=connection).return_value() for job in done[:50]}
    wrong = {job: result for job, result in results.items() if result not in (f"{job} is done", None)}
    nothing = [job for job, result in results.items() if result is None]
    assert not wrong and len(nothing) <= WORKERS, f"results are wrong: {wrong}, missing: {nothing}"
    assert connection.ttl(f"rq:job:{done[0]}") > 0, "a finished job is kept forever"


def bring_back(queue, lost):
    """What a worker's maintenance does a minute later."""
    if not lost:
        return
    intermediate = IntermediateQueue(queue.key, connection)
    for job in intermediate.get_job_ids():
        connection.set(intermediate.get_first_seen_key(job), time.time() - 3600)
    intermediate.cleanup(Worker([queue], connection=connection), queue)
    StartedJobRegistry(queue=queue).cleanup(time.time() + 3600)
    failed = FailedJobRegistry(queue=queue)
    for job in set(failed.get_job_ids()) & lost:
        failed.requeue(job)


def scheduled_jobs():
    """Accepted before the crash, due after it; the scheduler's lock is still its own."""
    queue = Queue("work", connection=connection)
    scheduler = RQScheduler([queue], connection=connection)
    assert scheduler.acquire_locks() == {"work"}
    due, never = {}, []
    for n in range(20):
        name = f"later-{n}"
        due[name] = time.time() + 0.2 + 0.05 * n
        queue.enqueue_in(timedelta(seconds=0.2 + 0.05 * n), "rq_jobs.work", name, job_id=name)
        never.append(f"never-{n}")
        queue.enqueue_in(timedelta(days=1), "rq_jobs.work", never[-1], job_id=never[-1])
    crash()
    assert not RQScheduler([queue], connection=connection).acquire_locks(), "the scheduler's lock is granted twice"

    def done():
        workers.check()
        scheduler.enqueue_scheduled_jobs()
        return set(due) <= set(ledger.counts())

    wait_until(done, "scheduled jobs are worked on", 40)
    scheduler.release_locks()
    assert set(queue.scheduled_job_registry.get_job_ids()) == set(never), "jobs that are not due are all there"
    assert not (set(never) & set(ledger.counts())), "a job was worked on before it was due"


def unique_jobs():
    """A name that is taken is taken after the crash too."""
    queue = Queue("nobody-works", connection=connection)
    queue.enqueue("rq_jobs.work", "only", job_id="only", unique=True)
    crash()
    try:
        queue.enqueue("rq_jobs.work", "only", job_id="only", unique=True)
    except DuplicateJobError:
        pass
    else:
        raise AssertionError("a unique job is there twice")
    assert queue.get_job_ids() == ["only"]


def retries_and_dependencies():
    """Retries are counted across the crash, dependents wait for all, a repeated job is repeated."""
    queue = Queue("work", connection=connection)
    retried = [queue.enqueue("rq_jobs.fail_twice", f"retry-{n}", retry=RetryJob(max=5), job_id=f"retry-{n}") for n in range(5)]
    last = queue.enqueue("rq_jobs.work", "last", depends_on=retried, job_id="last")
    queue.enqueue("rq_jobs.work", "again", repeat=Repeat(times=2), job_id="again")
    wait_until(lambda: len(attempts.rows()) >= 3, "first attempts")
    crash()
    changed, before = time.monotonic(), None

    def done():
        nonlocal changed, before
        workers.check()
        if before != (state := (len(attempts.rows()), len(ledger.rows()))):
            changed, before = time.monotonic(), state
        if time.monotonic() > changed + 3:
            bring_back(queue, {job.id for job in [*retried, last] if not job.is_finished})
            changed = time.monotonic()
        return last.get_status() == JobStatus.FINISHED

    wait_until(done, "the job that depends on the others is done", 40)
    rows = [row[0] for row in ledger.rows()]
    assert all(f"retry-{n}" in rows[: rows.index("last")] for n in range(5)), "it was worked on before those it depends on"
    assert last.return_value() == "last is done"
    assert all(attempts.counts()[f"retry-{n}"] >= 3 for n in range(5)), "retries were skipped"
    finished = set(FinishedJobRegistry(queue=queue).get_job_ids())
    assert {"last", *(f"retry-{n}" for n in range(5))} <= finished, "not all are in the registry of finished jobs"
    wait_until(lambda: ledger.counts()["again"] >= 2, "the repeated job")


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        own = redis.Redis(port=PORT)
        Worker(["work"], connection=own).work(logging_level="WARNING")
        sys.exit(0)
    logging.getLogger("rq").setLevel(logging.ERROR)
    workers = Workers(this_script("worker"), WORKERS, supervised=True)
    sys.exit(run([jobs_through_a_crash, scheduled_jobs, unique_jobs, retries_and_dependencies]))
