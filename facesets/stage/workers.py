"""Threads over jobs, twice as many as requests may be in flight (the breaker sees to that), so that no request waits
while others use the disk: sync, rename, record.
"""

import threading
import time
from collections.abc import Callable, Iterator

from ..common.errors import Failure
from ..immich.client import Stopped
from .state import Asset

QUICK = 1.0         # seconds that a stopping run waits for its threads; they hold nothing that matters


def run(jobs: Iterator[Asset], work: Callable[[Asset], None], threads: int, stop: threading.Event) -> None:
    """Do `work` for all jobs.

    The first error in any thread, or Ctrl-C, sets `stop`, which ends all of them, and is raised here.
    """
    turn, errors = threading.Lock(), list[BaseException]()

    def take() -> Asset | None:
        with turn:
            return None if stop.is_set() else next(jobs, None)

    def work_off() -> None:
        try:
            while (job := take()) is not None:
                work(job)
        except Stopped:
            pass
        except BaseException as error:
            errors.append(error)
            stop.set()

    crew = [threading.Thread(target=work_off, name=f"stage-{number}", daemon=True) for number in range(threads)]
    for thread in crew:
        thread.start()
    try:
        for thread in crew:
            while thread.is_alive() and not stop.is_set():
                thread.join(0.2)
    except KeyboardInterrupt:
        stop.set()
        raise
    finally:
        leave = time.monotonic() + QUICK
        for thread in crew:
            thread.join(max(0.0, leave - time.monotonic()))
    if errors:
        raise next((error for error in errors if isinstance(error, Failure)), errors[0])
