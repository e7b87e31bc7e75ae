"""What the tests of queue libraries share: a ledger of finished work, a producer, worker processes.

The ledger is a file: what a job did is known without the server that is tested.
"""

import atexit
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

import redis

import control
from control import PORT, crash, wait_until

URL = f"redis://127.0.0.1:{PORT}/0"
BROKEN = (redis.ConnectionError, redis.TimeoutError, OSError)
HOME = os.environ.get("LIBRARY_HOME")
if not HOME:
    folder = tempfile.TemporaryDirectory(prefix="library-")
    atexit.register(folder.cleanup)
    os.environ["LIBRARY_HOME"] = HOME = folder.name


class Ledger:
    """Lines that any process appends, each by one write."""

    def __init__(self, name="ledger"):
        self.path = os.path.join(HOME, name)

    def add(self, *words):
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, (" ".join(map(str, words)) + "\n").encode())
        finally:
            os.close(file)

    def rows(self):
        try:
            with open(self.path) as file:
                return [line.split() for line in file.read().splitlines()]
        except FileNotFoundError:
            return []

    def counts(self):
        return Counter(row[0] for row in self.rows())


WORKERS_LOG = os.path.join(HOME, "workers.log")


def log_tail():
    try:
        with open(WORKERS_LOG, errors="replace") as log:
            return log.read()[-4000:]
    except FileNotFoundError:
        return ""


def run(scenes):
    """The scenes in turn; what workers have written is shown when one fails."""
    return control.run(scenes, failed=lambda: print(f"workers: {log_tail()}", flush=True))


class Workers:
    """Processes that work beside this one."""

    def __init__(self, command, count=1, supervised=False, **environment):
        self.supervised = supervised  # one that ends is started again, as a service manager does
        self.command, self.environment = command, dict(os.environ, **environment)
        self.processes = []
        atexit.register(self.stop)
        for _ in range(count):
            self.start()

    def start(self):
        with open(WORKERS_LOG, "ab") as log:
            own = dict(stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.processes.append(subprocess.Popen(self.command, env=self.environment, **own))

    def check(self):
        for process in [process for process in self.processes if process.poll() is not None]:
            assert self.supervised, f"a worker ended with {process.returncode}"
            self.processes.remove(process)
            self.start()

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []


def this_script(*arguments):
    return [sys.executable, "-W", "ignore", os.path.abspath(sys.argv[0]), *arguments]


class Producer:
    """Sends job after job by `send(name)`, at a bounded pace, from threads of its own."""

    def __init__(self, send, broken=BROKEN, threads=2, pause_s=0.002):
        self.send, self.broken, self.pause_s = send, broken, pause_s
        self.acknowledged, self.unknown = set(), set()
        self.failure = None
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(i,), daemon=True) for i in range(threads)]

    def work(self, own):
        n = 0
        while not self.stopping.is_set():
            n += 1
            job = f"job-{own}-{n}"
            try:
                self.send(job)
                self.acknowledged.add(job)
                time.sleep(self.pause_s)
            except self.broken:
                self.unknown.add(job)
                time.sleep(0.02)
            except Exception as why:  # reported by the main thread
                self.failure = why
                return

    def run_through_crash(self, worked, before=60, done=20, after=40):
        """Sends until `before` jobs are accepted and `done` worked on, a crash, `after` more."""
        for thread in self.threads:
            thread.start()
        self.wait(lambda: len(self.acknowledged) >= before and len(worked()) >= done, "work before the crash")
        crash()
        seen = len(self.acknowledged)
        self.wait(lambda: len(self.acknowledged) >= seen + after, "jobs are accepted after the crash")
        self.stop()

    def wait(self, condition, what):
        wait_until(lambda: self.failure or condition(), what, 40)
        if self.failure:
            raise self.failure

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), "a producer hangs"
        if self.failure:
            raise self.failure


def check_worked(producer, ledger, workers, twice_at_most, lost_at_most=0, limit_s=60):
    """Every acknowledged job is worked on; few twice; none that nobody sent."""

    def missing():
        workers.check()
        return producer.acknowledged - set(ledger.counts())

    try:
        wait_until(lambda: len(missing()) <= lost_at_most, "acknowledged jobs are worked on", limit_s)
    except AssertionError as why:
        raise AssertionError(f"{why}; lost: {len(missing())}, {sorted(missing())[:5]}") from None
    counts = ledger.counts()
    strangers = set(counts) - producer.acknowledged - producer.unknown
    assert not strangers, f"nobody sent {sorted(strangers)[:5]}"
    twice = [job for job, count in counts.items() if count > 1]
    assert len(twice) <= twice_at_most, f"worked on more than once: {len(twice)}, {sorted(twice)[:5]}"
