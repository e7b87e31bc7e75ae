#!/usr/bin/env python3
"""Runs the client pattern scripts, each against a server of its own that is killed in the middle.

A script talks to the server at PORT (in its environment) as it likes. When it prints `@crash`, this controller sends
SIGKILL to the server at a random moment within the next tenth of a second, starts it again on the same directory and
port, waits for PING, and answers `@restarted` on the script's standard input. Everything else that is printed is passed on.

DURAMEN_BIN names the server binary (default: the debug build); redis-server serves to try out the scripts themselves.
"""

import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
READY_WITHIN_S = 60
SCRIPTS = {
    "redis-py": [sys.executable, "-W", "ignore::DeprecationWarning", os.path.join(HERE, "patterns.py")],
    "node-redis": ["node", os.path.join(HERE, "node", "patterns_node_redis.mjs")],
    "ioredis": ["node", os.path.join(HERE, "node", "patterns_ioredis.mjs")],
}


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

    def answers_ping(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def kill9(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self):
        with open(os.path.join(self.home, "server.log"), errors="replace") as log:
            return log.read()[-4000:]


def run_script(name, binary, appendfsync):
    server = Server(binary, appendfsync)
    ok = False
    script = None
    try:
        server.start()
        environment = dict(os.environ, PORT=str(server.port))
        script = subprocess.Popen(SCRIPTS[name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for line in script.stdout:
            if line.strip() == "@crash":
                time.sleep(random.uniform(0, 0.1))
                server.kill9()
                server.start()
                script.stdin.write("@restarted\n")
                script.stdin.flush()
            else:
                print(f"[{name}, {appendfsync}] {line}", end="", flush=True)
        ok = script.wait() == 0
    except (RuntimeError, OSError) as why:
        print(f"[{name}, {appendfsync}] {why}", flush=True)
    finally:
        if script and script.poll() is None:
            script.kill()
            script.wait()
        server.kill9()
        if ok:
            shutil.rmtree(server.home, ignore_errors=True)
        else:
            print(f"[{name}, {appendfsync}] FAILED; kept for a look: {server.home}\n{server.log()}", flush=True)
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", choices=[*SCRIPTS, []], help="which scripts (default: all)")
    parser.add_argument("--appendfsync", action="append", choices=["always", "everysec", "no"])
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="patterns with streams, with crashes, for so long each")
    options = parser.parse_args()
    if options.soak:
        os.environ["SOAK_S"] = str(options.soak)
    binary = os.environ.get("DURAMEN_BIN") or os.path.join(ROOT, "target", "debug", "duramen")
    failed = []
    for name in options.scripts or SCRIPTS:
        for appendfsync in options.appendfsync or ["always", "everysec"]:
            if not run_script(name, binary, appendfsync):
                failed.append(f"{name}/{appendfsync}")
    print("client patterns: " + (f"FAILED {', '.join(failed)}" if failed else "all passed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
