"""HTTP to Immich: the kinds of failure, and the one place that retries.

    Transient       ask again later: network, TLS, DNS, 404, 408, 425, 429, 5xx, cut off, wrong bytes, a web page
    Rejected        this asset, for good until asked again
    NotAllowed      every request would fail: 401, 403 (facesets.common.errors)
    Paused          the breaker found the server away (facesets.common.errors)
Nobody else looks at a status code. The key travels in one header, to the host of the base URL only: redirects are
followed on that host alone, `.netrc` is not read, and no message holds a header.
"""

import email.utils
import http.client
import http.cookiejar
import ipaddress
import json
import random
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests
import urllib3

from ..common import terminal
from ..common.errors import Failure, NotAllowed, Paused, SettingsError
from . import allowed
from .breaker import AGAIN, TOLD, Breaker
from .words import is_page, no_url, not_json, words

CHUNK = 64 << 10        # bytes per read of a body
CONNECTIONS = 64        # that are kept alive: one for each of the most requests at once
MOST_JSON = 256 << 20   # bytes of one JSON reply; a page of 1,000 assets has 2 MB
SLOWEST = 1024          # bytes a second, averaged over `read_timeout`; a body slower than that is stalled
LONGEST_WAIT = 300.0    # seconds that Retry-After may ask for
LONGEST_PAUSE = 30.0    # seconds between two attempts
WRONG_SHAPE = (LookupError, TypeError, ValueError, AttributeError, OverflowError)      # what reading a reply raises
LATER = {404, 407, 408, 421, 425, 429}   # 404 too: on 3.x a dropped mount answers 404 for everything

KEY = "x-api-key"       # the header of a key; a login has another

T = TypeVar("T")


class Transient(Exception):
    """Ask again later."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Rejected(Exception):
    """Not this asset: list it with the reason, go on."""


class Stopped(Exception):
    """The run is ending; let go of everything."""


@contextmanager
def understanding(what: str) -> Iterator[None]:
    """Whatever a reply holds that is not as Immich's is a Failure in words; `what` names who answered."""
    try:
        yield
    except WRONG_SHAPE as error:
        raise Failure(f"{what} answers unlike any Immich that we know ({type(error).__name__}: {str(error)[:80]}); "
                      "is a proxy in between?") from error


@contextmanager
def needed(what: str) -> Iterator[None]:
    """What fails here to the end is what nothing can go on without: Paused; `what` says what failed."""
    try:
        yield
    except (Transient, Rejected) as error:
        raise Paused(f"{what}: {error}") from None


@dataclass(frozen=True)
class Access:
    """Where the server is and how we may ask it. `header` is secret."""

    url: str                                    # base, without /api
    header: tuple[str, str] = field(repr=False)
    ca_file: Path | None = None
    connect_timeout: float = 10.0               # seconds
    read_timeout: float = 60.0
    retry_pause: float = 0.5                    # seconds before the second attempt; doubles
    attempts: int = 4                           # of one request before its asset is left for the next run
    may_write: bool = False                     # what `allowed` lists; else it only reads


@dataclass
class Counts:
    requests: int = 0
    bytes: int = 0          # of bodies of photos


class Client:
    """One server, many threads: each request has a kept-alive connection to itself while it lasts."""

    def __init__(self, access: Access, breaker: Breaker, stop: threading.Event) -> None:
        self.access, self.breaker, self.stop = access, breaker, stop
        breaker.pause = self.pause
        self.counts = Counts()
        self._lock = threading.Lock()
        self._origin = _origin(access.url)
        self._session = _session(access)

    def get(self, path: str, attempts: int | None = None, **query: str) -> Any:
        return self.json("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""), None, attempts)

    def json(self, method: str, path: str, body: Mapping[str, Any] | None = None, attempts: int | None = None) -> Any:
        """The parsed reply, retried; what fails to the end is Transient."""
        return self.retrying(lambda: self.json_once(method, path, body), attempts)

    def json_once(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        with self.open(method, path, body) as response:
            data = b"".join(self.chunks(response, MOST_JSON))
            try:
                return None if response.status_code == 204 else json.loads(data)
            except (ValueError, RecursionError):
                raise Transient(not_json(response, data)) from None

    def probe(self, route: str) -> str:
        """Why the server cannot be asked for `route`, "" if it can."""
        try:
            self.json_once("GET", route)
        except (Transient, Rejected) as error:
            return "" if str(error).startswith("429") else str(error)       # who asks us to slow down is there
        return ""

    def retrying(self, call: Callable[[], T], attempts: int | None = None) -> T:
        """Run `call` until it ends well, its attempts are spent, or the breaker opens: the only retry there is."""
        attempts = attempts or self.access.attempts
        attempt, absences, began = 0, self.breaker.absences, time.monotonic()
        while True:
            attempt += 1
            self.breaker.enter()
            successes, asked = self.breaker.successes, time.monotonic()
            try:
                value = call()
                self.breaker.succeeded()
                return value
            except Transient as error:
                failure = error
                self.breaker.failed(str(failure), failure.retry_after)
                away = attempt % attempts == 0 and self.breaker.suspect(successes)
            finally:
                self.breaker.leave()
            if self.breaker.absences != absences:       # it is not this request's fault; that wait was told
                attempt, absences, began = 0, self.breaker.absences, time.monotonic()
            elif away:
                attempt = 0
            elif attempt >= attempts:
                raise failure
            pauses = [min(LONGEST_PAUSE, self.access.retry_pause * 2 ** one / 2) for one in range(attempt, attempts)]
            took, waits = time.monotonic() - asked, [max(one, failure.retry_after) for one in pauses]
            if failure.retry_after - pauses[0] <= TOLD < time.monotonic() - began + waits[0]:   # else `enter` tells
                self.breaker.waits(AGAIN, str(failure), sum(waits) + took * len(waits))
            self.pause(random.uniform(pauses[0] / 2, pauses[0]))

    def pause(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped

    @contextmanager
    def open(self, method: str, path: str, body: Mapping[str, Any] | None = None,
             headers: Mapping[str, str] | None = None) -> Iterator[requests.Response]:
        """One attempt: a response of status 2xx whose body is not read yet, or one of the failures above."""
        with self._follow(method, self.access.url + "/api" + path, body, headers or {}) as response:
            if response.status_code // 100 != 2:
                raise self._failure(response)
            yield response

    def _follow(self, method: str, url: str, body: Mapping[str, Any] | None,
                headers: Mapping[str, str]) -> requests.Response:
        """The answer, after redirects on the same host."""
        for _ in range(4):
            response = self._send(method, url, body, headers)
            if response.status_code not in (301, 302, 303, 307, 308):
                return response
            response.close()
            try:
                target = urllib.parse.urljoin(url, response.headers.get("Location", ""))
                scheme, origin = _origin(target)
            except ValueError:
                raise Transient("it redirects to nowhere") from None
            if origin != self._origin[1] or scheme not in (self._origin[0], "https"):
                host = terminal.safe(urllib.parse.urlsplit(target).netloc, 80)
                raise Transient(f"it redirects to {host or 'nowhere'}, where the key is not sent")
            url = target
        raise Transient("it redirects in a circle")

    def chunks(self, response: requests.Response, most: int | None = None) -> Iterator[bytes]:
        """The body in pieces as they arrive. Raises Transient when it stops, trickles or grows past `most`."""
        total, window_start, window = 0, time.monotonic(), 0
        while True:
            if self.stop.is_set():
                raise Stopped
            try:
                piece = response.raw.read1(CHUNK, decode_content=True)
            except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
                raise Transient(f"the answer broke off ({words(error)})") from None
            if not piece:
                return
            total += len(piece)
            window += len(piece)
            if most is not None and total > most:
                raise Transient(f"the answer is larger than {most >> 20} MB")
            passed = time.monotonic() - window_start
            if passed > self.access.read_timeout:
                if window < SLOWEST * passed:
                    raise Transient(f"the answer trickles ({window} bytes in {passed:.0f} s)")
                window_start, window = time.monotonic(), 0
            yield piece

    def count_bytes(self, number: int) -> None:
        with self._lock:
            self.counts.bytes += number

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None,
              headers: Mapping[str, str]) -> requests.Response:
        allowed.refuse(method, url, body, self.access.may_write)
        with self._lock:
            self.counts.requests += 1
        try:
            return self._session.request(method, url, json=body, headers=dict(headers), stream=True,
                                         allow_redirects=False,
                                         timeout=(self.access.connect_timeout, self.access.read_timeout))
        except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema,
                urllib3.exceptions.LocationValueError) as error:
            raise SettingsError(no_url(error, self._session.proxies)) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise Transient(words(error)) from None

    def _failure(self, response: requests.Response) -> Exception:
        """What a status other than 2xx means."""
        status = response.status_code
        message, kind = self._message(response)
        said = f"{status} {message}".strip()
        if status in (401, 403):
            if kind == "page":
                return Transient(f"{said} in HTML: a proxy or firewall in between refuses this, not Immich; "
                                 "see that it lets this machine through")
            return NotAllowed(f"the server refuses this ({said}); check the key or login and its permissions")
        if status in LATER or status >= 500 or kind != "json":
            return Transient(said, _retry_after(response.headers.get("Retry-After", "")))
        return Rejected(said)

    def _message(self, response: requests.Response) -> tuple[str, str]:
        """What an error reply says, and what it is: "json", a "page" of a proxy, or "" for anything else."""
        data = b""
        try:
            data = b"".join(self.chunks(response, 1 << 20))
            reply = json.loads(data)
            message = reply["message"]
            parts = [str(part) for part in message] if isinstance(message, list) else [str(message)]
            parts += [f"{'.'.join(map(str, error['path']))}: {error['message']}" for error in reply.get("errors") or ()]
        except (Transient, RecursionError, *WRONG_SHAPE):
            return terminal.safe(response.reason or "", 80), "page" if is_page(response, data) else ""
        return terminal.safe("; ".join(parts), 200), "json"


def _session(access: Access) -> requests.Session:
    """One for all threads: nothing in it changes, not even by a cookie, and urllib3 does not use a connection that the
    server has closed.
    """
    session = requests.Session()
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS))
    # The environment is read once: requests would do it again at every request, and would add what ~/.netrc says.
    # What is asked of this machine itself goes through no proxy.
    session.trust_env = False
    session.proxies = {} if is_local(access.url) else dict(requests.utils.get_environ_proxies(access.url))
    session.verify = str(access.ca_file) if access.ca_file else True
    # `open` follows redirects; requests would parse the address all the same, and raise where it is none.
    session.get_redirect_target = lambda _: None    # type: ignore[assignment, method-assign]
    session.headers.update({"User-Agent": "face-sets", access.header[0]: access.header[1]})
    return session


def is_local(url: str) -> bool:
    """Is it this machine that is asked, so that nothing can be read on the way?"""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str]:
    """Scheme and host with port; http and https on their own ports are the same host."""
    parts = urllib.parse.urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return parts.scheme, ""
    standard = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, f"{(parts.hostname or '').lower()}:{'' if port in (None, standard) else port}"


def _retry_after(text: str) -> float:
    """Seconds that the server asks us to wait, 0 where it does not."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else 0.0
