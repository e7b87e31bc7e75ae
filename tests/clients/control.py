"""What a script says to its controller (run.py), and how it waits."""

import os
import sys
import time
import traceback

PORT = int(os.environ["PORT"])
PORTS = [int(port) for port in os.environ.get("PORTS", str(PORT)).split()]


def crash(server=0):
    """Has the server killed and restarted; returns when it serves again."""
    print(f"@crash {server}", flush=True)
    answer = sys.stdin.readline().strip()
    assert answer == "@restarted", f"controller said {answer!r}"


def wait_until(condition, what, limit_s=30):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s} s"
        time.sleep(0.01)


def run(patterns, before=lambda: None, failed=lambda: None):
    """All patterns in turn, `before()` ahead of each, `failed()` after one that fails; the exit status."""
    for pattern in patterns:
        try:
            before()
            pattern()
        except Exception as why:
            said = why if isinstance(why, AssertionError) else traceback.format_exc()
            print(f"{pattern.__name__}: FAILED: {said}", flush=True)
            failed()
            return 1
        print(f"{pattern.__name__}: passed", flush=True)
    return 0
