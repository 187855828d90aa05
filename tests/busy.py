"""Waits on a machine that has other things to do: long limits, and limits that grow with its slowness."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from facesets.common.errors import Failure

LIMIT = 300.0       # seconds that anything may take; what works needs a tenth. A test's own limit is twice this

T = TypeVar("T")


def slowness() -> float:
    """How many times longer than on a machine of its own a piece of work takes just now; at least 1."""
    began, worked = time.perf_counter(), time.thread_time()
    while time.thread_time() - worked < 0.05:
        pass
    return max(1.0, (time.perf_counter() - began) / 0.05)


def wait_until(happened: Callable[[], object], what: str) -> None:
    """Look every few milliseconds whether it `happened`; `what` is said where it does not."""
    end = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < end, f"waited {LIMIT:.0f} s in vain: {what}"
        time.sleep(0.005)


def steady(look: Callable[[], T]) -> T:
    """What `look` finds twice in a row: a run may fold, rename or remove what is just being read."""
    seen: list[T] = []

    def again() -> bool:
        with suppress(FileNotFoundError, Failure):
            seen.append(look())
        return len(seen) > 1 and seen[-2] == seen[-1]
    wait_until(again, "it holds still")
    return seen[-1]
