"""Faults that the local server commits on demand: a list that tests write and every request is held against.

    server.faults.add("stop", "*/original", at=0.5, times=3)      the next three downloads stop halfway
    server.faults.add("status", "*/search/*", skip=2, status=503, retry_after=1)

kind          what happens to a matching request
delay         `seconds` of silence, then the true reply
stall         the reply's head and `at` of its body, then `seconds` of silence, then the rest
trickle       the body in pieces of `piece` bytes, `seconds` apart
reset         the connection is reset before any answer
stop          `at` of the body (a part below 1, else bytes), then a reset
cut           `at` of the body under the full Content-Length, then an orderly end
long, short   Content-Length promises `piece` bytes more, or fewer, than there are
wrong_bytes   the right length, other bytes
ignore_range  200 and the whole file, whatever Range says
status        `status` with a JSON error, and `Retry-After: retry_after`
json_image    500 with content type image/jpeg and a JSON body, as a file that cannot be read
html          200 and the HTML of a login page
redirect      302 to `location`
down          this connection is reset and the whole server goes away, for `seconds` or until `server.up()`
"""

import fnmatch
import threading
from dataclasses import dataclass

KINDS = ("delay", "stall", "trickle", "reset", "stop", "cut", "long", "short", "wrong_bytes", "ignore_range", "status",
         "json_image", "html", "redirect", "down")


@dataclass
class Fault:
    kind: str
    path: str = "*"                 # glob over the path, e.g. "*/original" or "/api/search/metadata"
    method: str = "*"
    skip: int = 0                   # matching requests that pass before it begins
    every: int = 1                  # then every n-th
    times: int | None = None        # and so many; None: for ever
    seconds: float = 0.0
    at: float = 0.5
    piece: int = 1000
    status: int = 503
    retry_after: float | None = None
    location: str = ""
    seen: int = 0                   # matching requests so far
    done: int = 0                   # of which it hit

    def cut_at(self, length: int) -> int:
        """How many of `length` bytes are sent."""
        return min(length, int(self.at * length) if self.at < 1 else int(self.at))


class Faults:
    """The list; the first fault that strikes a request is the one it gets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, kind: str, path: str = "*", **options: object) -> Fault:
        if kind not in KINDS:
            raise ValueError(f"{kind} is no fault; there are {', '.join(KINDS)}")
        fault = Fault(kind, path, **options)    # type: ignore[arg-type]
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def strike(self, method: str, path: str) -> Fault | None:
        """Count this request and return the fault that it meets."""
        with self._lock:
            for fault in self._faults:
                if not fnmatch.fnmatchcase(path, fault.path) or not fnmatch.fnmatchcase(method, fault.method):
                    continue
                fault.seen += 1
                turn = fault.seen - fault.skip - 1
                if turn < 0 or turn % fault.every or (fault.times is not None and fault.done >= fault.times):
                    continue
                fault.done += 1
                return fault
        return None
