"""The circuit breaker: twelve failures in a row across all workers, then one question decides.

Closed, requests pass. At the twelfth failure in a row it opens: everybody waits while one thread probes an
authenticated route. The server is away: wait as long as `wait_for` allows, then Paused for all. It is there: go on
with half the requests at once, and recover one by one.
"""

import threading
import time
from collections.abc import Callable

from ..common.errors import Paused

IN_A_ROW = 12       # failures; fewer would trip over a handful of damaged files
PROBES = 3          # of a server that seems away; a proxy that reloads is back within them
FRESH = 5.0         # seconds that the answer to a probe holds
RECOVER = 20        # successes in a row that earn one more request at once
TOLD = 5.0          # seconds; a longer wait is told
PAUSE = "the server asks for a pause ({why}): waiting {seconds:.0f} s, until {end}"
AGAIN = "the server does not do what it is asked ({why}): asking again, if need be until {end}"


class Breaker:
    def __init__(self, workers: int, wait_for: float = 0.0, pause: float = 0.5,
                 tell: Callable[[str], None] = lambda _: None) -> None:
        """`probe` is set once the server is known: it returns "" when the server answers, else why not."""
        self.probe: Callable[[], str] | None = None
        self.pause: Callable[[float], None] = time.sleep
        self.workers = workers
        self.limit = workers            # requests at once
        self.successes = 0              # requests that ended well
        self.absences = 0               # times that the server was away and came back
        self._wait_for = wait_for       # seconds in all that we may wait for an absent server
        self._step = pause
        self._tell = tell
        self._changed = threading.Condition()
        self._active = 0
        self._row = 0                   # failures in a row
        self._good = 0                  # successes in a row
        self._probing = False
        self._seen = float("-inf")      # time.monotonic() of the last probe that was answered
        self._not_before = 0.0          # time.monotonic() that Retry-After asked for
        self._asked = ""                # why it did, in words
        self._told = dict[str, float]() # what is told of a wait -> time.monotonic() until which it is told
        self._away: Paused | None = None

    def enter(self) -> None:
        """Wait for a turn. Raises Paused once the server was found away."""
        while True:
            with self._changed:
                if self._away:
                    raise self._away
                wait = self._not_before - time.monotonic()
                if wait <= 0:
                    if not self._probing and self._active < self.limit:
                        self._active += 1
                        return
                    self._changed.wait(0.5)
            self.waits(PAUSE, self._asked, wait)
            self.pause(max(0.0, min(wait, 1.0)))

    def leave(self) -> None:
        with self._changed:
            self._active -= 1
            self._changed.notify()

    def succeeded(self) -> None:
        with self._changed:
            self._row = 0
            self._good += 1
            self.successes += 1
            if self.limit < self.workers and self._good >= RECOVER:
                self._good = 0
                self.limit += 1
                self._changed.notify_all()

    def failed(self, reason: str, retry_after: float = 0.0) -> None:
        """Count a failure; the twelfth in a row probes, and raises Paused if the server is away."""
        with self._changed:
            self._good = 0
            self._row += 1
            if retry_after and (until := time.monotonic() + retry_after) > self._not_before:
                self._not_before, self._asked = until, reason
            tripped = self._row >= IN_A_ROW
        if tripped:
            self._open(reason)

    def waits(self, words: str, why: str, seconds: float) -> None:
        """Tell of a wait, with its end, if it is longer than TOLD; until that end of no other in the same `words`."""
        with self._changed:
            now = time.monotonic()
            if news := seconds > TOLD and now > self._told.get(words, 0.0):
                self._told[words] = now + seconds
        if news:
            end = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
            self._tell(words.format(why=why, seconds=seconds, end=end))

    def suspect(self, successes: int) -> bool:
        """A request failed for the last time: was it the server? Not if any ended well since there were `successes`,
        nor if a probe is answered; one that is not counts as a failure like any other.
        """
        if self.probe is None or self.successes != successes or time.monotonic() - self._seen < FRESH:
            return False
        why = self.probe()
        if why:
            self.failed(why)
        else:
            self._seen = time.monotonic()
        return bool(why)

    def _open(self, reason: str) -> None:
        """Let one thread ask whether the server is there, while the others wait. Raises Paused if it is away."""
        if self.probe is None:
            return
        with self._changed:
            asked = self._probing       # by another thread
            while self._probing:
                self._changed.wait(0.5)
            if self._away:
                raise self._away
            if asked:
                return
            self._probing = True
        paused: Paused | None = None
        try:
            paused = self._ask(reason)
        finally:
            with self._changed:
                self._probing, self._row, self._away = False, 0, paused
                self.limit = max(1, self.limit // 2)
                self._changed.notify_all()
        if paused:
            raise paused

    def _ask(self, reason: str) -> Paused | None:
        """None if the server answers, now or within `wait_for`; else how the run ends."""
        started, tries = time.monotonic(), 0
        while True:
            why = self.probe() if self.probe else ""
            tries += 1
            if not why:
                self._seen = time.monotonic()
                if tries > 1:
                    self.absences += 1
                    self._tell("the server is back")
                else:
                    self._tell(f"failures in a row ({reason}), but the server is there: going on more slowly")
                return None
            left = self._wait_for - (time.monotonic() - started)
            if tries >= PROBES and left <= 0:
                return Paused(f"the server is away ({why})")
            if tries == PROBES:
                self._tell(f"the server is away ({why}); waiting up to {left / 60:.0f} min for it")
            step = min(self._step * 2 ** tries, 30.0)
            self.pause(step if tries < PROBES else min(step, left))
