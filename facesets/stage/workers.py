"""Threads over jobs that may have to wait for each other.

A job names its `twin`: the checksum that it shares with others. Two of one twin never run at once: after the first, the
second's bytes are known. Jobs are put off, never waited for, while others can run.

There are twice as many threads as requests may be in flight (the breaker sees to that), so that no request waits while
others use the disk: sync, rename, record.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from ..common.errors import Failure
from ..immich.client import Stopped
from .state import Asset

QUICK = 1.0         # seconds that a stopping run waits for its threads; they hold nothing that matters


class Jobs:
    """The next job for whoever asks; `done` frees its twins."""

    def __init__(self, source: Iterator[Asset]) -> None:
        self._source = source
        self._busy: set[str] = set()
        self._put_off: deque[Asset] = deque()
        self._changed = threading.Condition()
        self._running = 0

    def next(self, stop: threading.Event) -> Asset | None:
        """A job, or None when there will be no more."""
        with self._changed:
            while not stop.is_set():
                job = self._free()
                if job is not None:
                    self._running += 1
                    if job.twin:
                        self._busy.add(job.twin)
                    return job
                if not self._running:
                    return None
                self._changed.wait(0.5)
            return None

    def done(self, job: Asset) -> None:
        with self._changed:
            self._running -= 1
            self._busy.discard(job.twin)
            self._changed.notify_all()

    def _free(self) -> Asset | None:
        for _ in range(len(self._put_off)):
            job = self._put_off.popleft()
            if job.twin not in self._busy:
                return job
            self._put_off.append(job)
        for job in self._source:
            if job.twin not in self._busy:
                return job
            self._put_off.append(job)
        return None


def run(source: Iterator[Asset], work: Callable[[Asset], None], threads: int, stop: threading.Event) -> None:
    """Do `work` for all jobs of `source`.

    The first error in any thread, or Ctrl-C, sets `stop`, which ends all of them, and is raised here.
    """
    jobs, errors = Jobs(source), list[BaseException]()

    def work_off() -> None:
        try:
            while (job := jobs.next(stop)) is not None:
                try:
                    work(job)
                finally:
                    jobs.done(job)
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
