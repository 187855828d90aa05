"""A kill before the n-th change on disk, in a fork: what it leaves is what SIGKILL leaves."""

import os
import signal
import sys
from collections.abc import Callable

EVENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link")   # what moves something on disk


def killed(act: Callable[[], object], at: int) -> bool:
    """Run `act` in a fork that is killed before its `at`-th event on disk; whether it was killed."""
    child = os.fork()
    if child == 0:
        count = 0

        def strike(event: str, _: object) -> None:
            nonlocal count
            if event in EVENTS:
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)
        try:
            sys.addaudithook(strike)
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)
