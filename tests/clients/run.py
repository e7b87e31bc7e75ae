#!/usr/bin/env python3
"""Runs the client patterns and the libraries, each against a server of its own that is killed in the middle.

A script talks to the server at PORT (in its environment) as it likes. When it prints `@crash`, this controller sends
SIGKILL to the server at a random moment within the next tenth of a second, starts it again on the same directory and
port, waits for PING, and answers `@restarted` on the script's standard input. Scripts that ask for several servers find them
in PORTS and say which one: `@crash 2`. Everything else that is printed is passed on.

Patterns run two at a time; libraries a few, under `always`. Their versions in docs/ecosystem.md must be those that are installed.

DURAMEN_BIN names the server binary (default: the debug build); redis-server serves to try out the scripts themselves.
"""

import argparse
import concurrent.futures
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

import ecosystem

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ENVIRONMENT = os.path.join(ROOT, "target", "test-env")
READY_WITHIN_S = 60
LIBRARY_WITHIN_S = 240
# They keep their servers busy.
PATTERNS_AT_ONCE = 2


class Script(NamedTuple):
    command: list
    appendfsync: tuple = ("always", "everysec")
    servers: int = 1
    within_s: float = None
    # Folders ahead of others for Python's imports.
    paths: tuple = ()


def python_library(file, *paths, **more):
    command = [sys.executable, "-W", "ignore", os.path.join(HERE, "libraries", file)]
    return Script(command, ("always",), within_s=LIBRARY_WITHIN_S, paths=paths, **more)


def node_library(file, **more):
    command = ["node", os.path.join(HERE, "node", "libraries", file)]
    return Script(command, ("always",), within_s=LIBRARY_WITHIN_S, **more)


PATTERNS = {
    "redis-py": Script([sys.executable, "-W", "ignore::DeprecationWarning", os.path.join(HERE, "patterns.py")]),
    "node-redis": Script(["node", os.path.join(HERE, "node", "patterns_node_redis.mjs")]),
    "ioredis": Script(["node", os.path.join(HERE, "node", "patterns_ioredis.mjs")]),
}
# Those that take longest first.
LIBRARIES = {
    "celery": python_library("celery_jobs.py"),
    "rq": python_library("rq_jobs.py"),
    "bullmq": node_library("bullmq.mjs"),
    "dramatiq": python_library("dramatiq_jobs.py"),
    "huey": python_library("huey_jobs.py"),
    "arq": python_library("arq_jobs.py", os.path.join(ENVIRONMENT, "arq")),
    "redis-py-scripts": python_library("redis_py.py"),
    "ioredis-scripts": node_library("ioredis.mjs"),
    "node-redis-scripts": node_library("node_redis.mjs"),
    "connect-redis": node_library("connect_redis.mjs"),
    "rate-limiter-flexible": node_library("rate_limiter_flexible.mjs"),
    "redlock": node_library("redlock.mjs", servers=3),
}
SCRIPTS = PATTERNS | LIBRARIES


def free_port():
    """A port below the range of outgoing connections: a reconnecting client must not be able to take it."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Server:
    def __init__(self, binary, appendfsync):
        self.binary, self.appendfsync = binary, appendfsync
        base = os.path.join(ROOT, "target", "tmp")
        os.makedirs(base, exist_ok=True)
        self.home = tempfile.mkdtemp(prefix="clients-", dir=base)
        self.port = free_port()
        self.process = None
        self.commands = set()

    def start(self):
        command = [self.binary, "--port", str(self.port), "--dir", self.home, "--bind", "127.0.0.1"]
        command += ["--appendfsync", self.appendfsync]
        if os.path.basename(self.binary) == "redis-server":
            command += ["--appendonly", "yes", "--save", ""]
        with open(os.path.join(self.home, "server.log"), "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_WITHIN_S
        while not self.answers_ping():
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}\n{self.log()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"no answer to PING within {READY_WITHIN_S} s\n{self.log()}")
            time.sleep(0.005)

    def ask(self, line, most=64):
        """The first bytes of the reply, nothing when there is no connection to be had."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(line.encode() + b"\r\nQUIT\r\n")
                reply = b""
                while len(reply) < most and (part := connection.recv(65536)):
                    reply += part
                return reply
        except OSError:
            return b""

    def answers_ping(self):
        return self.ask("PING").startswith(b"+PONG")

    def note_commands(self):
        """Remembers which commands were called since the start."""
        for line in self.ask("INFO commandstats", 1 << 20).decode(errors="replace").splitlines():
            if line.startswith("cmdstat_"):
                self.commands.add(line[len("cmdstat_") :].split(":")[0].replace("|", " ").upper())

    def kill9(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self):
        try:
            with open(os.path.join(self.home, "server.log"), errors="replace") as log:
                return log.read()[-4000:]
        except FileNotFoundError:
            return "it was never started"


def end_group(script):
    """Ends a script and the workers that it started: they are a process group of their own."""
    if script:
        try:
            os.killpg(script.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        script.wait()


def obey(script, servers, say, note_commands):
    """Passes on what the script prints, and does to the servers as it says."""
    for line in script.stdout:
        words = line.split()
        if words[:1] == ["@crash"]:
            server = servers[int(words[1]) if len(words) > 1 else 0]
            if note_commands:
                server.note_commands()
            time.sleep(random.uniform(0, 0.1))
            server.kill9()
            server.start()
            script.stdin.write("@restarted\n")
            script.stdin.flush()
        else:
            say(line.rstrip("\n"))


def run_script(name, binary, appendfsync, note_commands):
    def say(text):
        print(f"[{name}, {appendfsync}] {text}", flush=True)

    chosen = SCRIPTS[name]
    servers = [Server(binary, appendfsync) for _ in range(chosen.servers)]
    ok, script, watchdog, start = False, None, None, time.monotonic()
    try:
        for server in servers:
            server.start()
        paths = [*chosen.paths, HERE]
        ports = [str(server.port) for server in servers]
        environment = dict(os.environ, PORT=ports[0], PORTS=" ".join(ports), PYTHONPATH=os.pathsep.join(paths))
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        script = subprocess.Popen(chosen.command, env=environment, start_new_session=True, **pipes)
        if chosen.within_s:
            watchdog = threading.Timer(chosen.within_s, lambda: (say(f"not done within {chosen.within_s} s"), end_group(script)))
            watchdog.start()
        obey(script, servers, say, note_commands)
        ok = script.wait() == 0
    except (RuntimeError, OSError) as why:
        say(str(why))
    finally:
        if watchdog:
            watchdog.cancel()
        end_group(script)
        if note_commands:
            for server in servers:
                server.note_commands()
            say("commands: " + ", ".join(sorted(set().union(*(server.commands for server in servers)))))
        for server in servers:
            server.kill9()
            if ok:
                shutil.rmtree(server.home, ignore_errors=True)
            else:
                say(f"FAILED; kept for a look: {server.home}\n{server.log()}")
    if ok and name in LIBRARIES:
        say(f"done in {time.monotonic() - start:.0f} s")
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", choices=[*SCRIPTS, []], help="which scripts (default: all)")
    parser.add_argument("--appendfsync", action="append", choices=["always", "everysec", "no"])
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="patterns with streams, with crashes, for so long each")
    parser.add_argument("--commands", action="store_true", help="print which commands each script called")
    parser.add_argument("--at-once", type=int, default=3, metavar="N", help="how many run at a time (patterns: two at most)")
    options = parser.parse_args()
    if options.soak:
        os.environ["SOAK_S"] = str(options.soak)
    binary = os.environ.get("DURAMEN_BIN") or os.path.join(ROOT, "target", "debug", "duramen")
    failed = [f"docs/ecosystem.md: {fault}" for fault in ecosystem.faults(LIBRARIES)]

    def run(job):
        if not run_script(*job[:1], binary, *job[1:], options.commands):
            failed.append("/".join(job))

    names = options.scripts or list(PATTERNS if options.soak else SCRIPTS)
    jobs = [(name, how) for name in names for how in options.appendfsync or SCRIPTS[name].appendfsync]
    for kind, at_once in ((PATTERNS, min(options.at_once, PATTERNS_AT_ONCE)), (LIBRARIES, options.at_once)):
        with concurrent.futures.ThreadPoolExecutor(at_once) as several:
            list(several.map(run, [job for job in jobs if job[0] in kind]))
    print("clients: " + (f"FAILED {', '.join(failed)}" if failed else "all passed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
