"""What the local server was asked, so that tests can assert on it."""

import fnmatch
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    number: int
    method: str
    path: str                       # without the query, percent-encoding kept
    query: dict[str, str]
    headers: dict[str, str]         # names in lower case
    body: Any                       # parsed JSON, or None
    in_flight: int                  # requests being answered, this one included
    began: float                    # time.monotonic()
    user: str = ""                  # name of whose key or session it was
    status: int = 0                 # 0: no answer was sent
    sent: int = 0                   # bytes of the body
    fault: str = ""
    seconds: float = field(default=0.0)


class RequestLog:
    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._requests: list[Request] = []
        self._open = 0
        self._number = 0
        self.most_in_flight = 0
        self.connections = 0
        self.keep = True            # False for benchmarks of a million requests

    def begin(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Any) -> Request:
        with self._lock:
            self._open += 1
            self._number += 1
            self.most_in_flight = max(self.most_in_flight, self._open)
            request = Request(self._number, method, path, query, headers, body, self._open, time.monotonic())
            if self.keep:
                self._requests.append(request)
            return request

    def end(self, request: Request) -> None:
        with self._lock:
            self._open -= 1
            request.seconds = time.monotonic() - request.began
            self._lock.notify_all()

    def settled(self, seconds: float = 60.0) -> bool:
        """Wait until nothing is being answered; the client has a reply a moment before the log has its end."""
        with self._lock:
            return self._lock.wait_for(lambda: self._open == 0, seconds)

    @property
    def in_flight(self) -> int:
        return self._open

    def find(self, path: str = "*", method: str = "*") -> list[Request]:
        """Those whose path and method match the globs, in order of arrival."""
        return [one for one in self if fnmatch.fnmatchcase(one.path, path) and fnmatch.fnmatchcase(one.method, method)]

    def clear(self) -> None:
        with self._lock:
            self._requests.clear()

    def __iter__(self) -> Iterator[Request]:
        with self._lock:
            return iter(list(self._requests))

    def __len__(self) -> int:
        return len(self._requests)
