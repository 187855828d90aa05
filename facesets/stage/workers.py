"""W threads that keep W requests in flight, over jobs that may have to wait for each other.

A job names its `twin`: the checksum that it shares with others. Two of one twin never run at once: after the first, the
second's bytes are known. Jobs are put off, never waited for, while others can run.
What needs the disk and no request (sync, rename, record) is done by other threads, so that no request waits for it.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator

from ..common.errors import Failure
from ..immich.client import Stopped
from .state import Asset

QUICK = 1.0         # seconds that a stopping run waits for its threads; they hold nothing that matters
Finish = Callable[[], None]
Work = Callable[[Asset], Finish | None]


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


class Crew:
    """`workers` threads that ask, and as many that finish what was asked for."""

    def __init__(self, jobs: Jobs, work: Work, workers: int, stop: threading.Event) -> None:
        self._jobs, self._work, self._stop = jobs, work, stop
        self._failures: list[BaseException] = []
        self._finishing: queue.Queue[tuple[Asset, Finish] | None] = queue.Queue(4 * workers)
        self._askers = [threading.Thread(target=self._ask, name=f"stage-{number}", daemon=True)
                        for number in range(workers)]
        self._finishers = [threading.Thread(target=self._finish, name=f"finish-{number}", daemon=True)
                           for number in range(workers)]

    def run(self) -> None:
        """Do all jobs. The first Failure in any thread, or Ctrl-C, ends all of them and is raised here."""
        for thread in (*self._askers, *self._finishers):
            thread.start()
        try:
            self._join(self._askers)
            for _ in self._finishers:
                self._finishing.put(None)
            self._join(self._finishers)
        except KeyboardInterrupt:
            self._stop.set()
            self._let_go()
            raise
        self._let_go()
        if self._failures:
            raise next((error for error in self._failures if isinstance(error, Failure)), self._failures[0])

    def _join(self, threads: list[threading.Thread]) -> None:
        for thread in threads:
            while thread.is_alive() and not self._stop.is_set():
                thread.join(0.2)

    def _let_go(self) -> None:
        for thread in (*self._askers, *self._finishers):
            thread.join(QUICK / (2 * len(self._askers)))

    def _ask(self) -> None:
        while (job := self._jobs.next(self._stop)) is not None:
            finish = None
            try:
                finish = self._work(job)
            except Stopped:
                return
            except BaseException as error:
                self._failed(error)
                return
            finally:
                if finish is None:
                    self._jobs.done(job)
            if finish is not None:
                self._finishing.put((job, finish))

    def _finish(self) -> None:
        while (item := self._finishing.get()) is not None and not self._stop.is_set():
            try:
                item[1]()
            except BaseException as error:
                self._failed(error)
                return
            finally:
                self._jobs.done(item[0])

    def _failed(self, error: BaseException) -> None:
        self._failures.append(error)
        self._stop.set()
