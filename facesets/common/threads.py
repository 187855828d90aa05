"""Threads: how many pay, and work that a few of them share, in bounded memory."""

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

PATIENCE = 10.0         # seconds that a stop waits for what the lanes do; one may hang in a decoder or share
Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_lanes(work: Callable[[Item], Result], items: Iterable[Item], lanes: int) -> Generator[Result, None, None]:
    """What `work` makes of every item, as soon as it is ready; one waits in front of each lane, or behind it.

    The lanes end when the iterator is closed.
    """
    source, pending = iter(items), set[Future[Result]]()
    pool = ThreadPoolExecutor(lanes, "lane")
    try:
        while True:
            pending.update(pool.submit(work, item) for item in islice(source, 2 * lanes - len(pending)))
            if not pending:
                return
            done, pending = wait(pending, 0.2, FIRST_COMPLETED)     # Windows delivers Ctrl-C only between waits
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in pending if not future.cancelled()], PATIENCE)
