"""W threads that keep W requests in flight, over jobs that may have to wait for each other.

A job names its `twin`: what it shares with others whose bytes may be the same (a checksum, or size and head of a
file in an external library). Two of one twin never run at once: after the first, the second's bytes may be known.
A twin that ends in "?" only waits for those that hold it. Jobs are put off, never waited for, while others can run.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator

from ..errors import Failure
from ..state import Asset
from .client import Stopped

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
                    if job.twin and not job.twin.endswith("?"):
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

    def put_off(self, job: Asset) -> None:
        """Give `job`, whose twin is known better now, to whoever asks next."""
        with self._changed:
            self._put_off.append(job)

    def _free(self) -> Asset | None:
        for _ in range(len(self._put_off)):
            job = self._put_off.popleft()
            if job.twin.rstrip("?") not in self._busy:
                return job
            self._put_off.append(job)
        for job in self._source:
            if job.twin.rstrip("?") not in self._busy:
                return job
            self._put_off.append(job)
        return None


def run(jobs: Jobs, work: Callable[[Asset], None], workers: int, stop: threading.Event) -> None:
    """Do all jobs. The first Failure in any thread, or Ctrl-C, ends all of them and is raised here."""
    failures: list[BaseException] = []

    def loop() -> None:
        while (job := jobs.next(stop)) is not None:
            try:
                work(job)
            except Stopped:
                return
            except BaseException as error:
                failures.append(error)
                stop.set()
                return
            finally:
                jobs.done(job)

    threads = [threading.Thread(target=loop, name=f"stage-{number}", daemon=True) for number in range(workers)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
                if stop.is_set():
                    break
    except KeyboardInterrupt:
        stop.set()
        for thread in threads:
            thread.join(QUICK / workers)
        raise
    for thread in threads:
        thread.join(QUICK / workers)
    if failures:
        raise next((error for error in failures if isinstance(error, Failure)), failures[0])
