"""A local server that speaks Immich's protocol, for the demo, the tests and the benchmarks; never a place for photos.

Answers are those recorded from Immich v2.7.2; what 3.x does differently is from its API description and its source.
What goes wrong on purpose, and the log of what was asked, are in tests/immich_lab.
"""

import base64
import gzip
import hashlib
import http.server
import json
import secrets
import sys
import threading
import urllib.parse
from typing import Any

from . import routes
from .library_model import Library
from .paging import Index
from .protocol import STREAMED, ApiError, Call, Reply, error_reply

GZIP_FROM = 1024        # bytes; Immich compresses JSON from here on


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection: requests in, replies out, kept alive, with ETags and gzip."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    immich: "ImmichServer"

    def answer(self) -> None:
        self.send(self.reply(self.call()))

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def call(self) -> Call:
        """The request; its body is None where there is none, and the bytes where they are no JSON."""
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        raw = self.rfile.read(int(headers.get("content-length") or 0))
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw
        return Call(self.immich.library, self.immich.index, self.immich.version, self.command, parts.path, query,
                    headers, body)

    def reply(self, call: Call) -> Reply:
        correlation = secrets.token_hex(4)
        try:
            reply = self.immich.route(call)
        except ApiError as error:
            reply = error_reply(error, call.version, correlation)
        if reply.id_header:
            reply.headers.setdefault("x-immich-cid" if call.version[0] < 3 else "X-Correlation-ID", correlation)
        return reply

    def send(self, reply: Reply) -> None:
        headers, body = self.framed(reply)
        self.send_response_only(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.write(body)

    def framed(self, reply: Reply) -> tuple[dict[str, str], bytes]:
        """Headers and body as they go out; Immich gzips JSON from 1 KB on, in chunks of unknown length."""
        headers, body = {"X-Powered-By": "Express", **reply.headers}, reply.body
        if reply.kind:
            headers["Content-Type"] = reply.kind
        if "ETag" not in headers and reply.status not in (204, 302) and reply.kind != STREAMED:
            digest = base64.b64encode(hashlib.sha1(body).digest()).decode()[:27]
            headers["ETag"] = f'"{len(body):x}-{digest}"'
        packs = reply.kind.startswith("application/json") and "gzip" in self.headers.get("Accept-Encoding", "")
        if packs and len(body) >= GZIP_FROM:
            packed = gzip.compress(body, 1, mtime=0)
            body = f"{len(packed):x}\r\n".encode() + packed + b"\r\n0\r\n\r\n"
            headers |= {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}
        elif reply.status != 204:
            headers["Content-Length"] = str(len(body))
        headers |= {"Vary": "Accept-Encoding", "Date": self.date_time_string(), "Connection": "keep-alive",
                    "Keep-Alive": f"timeout={self.immich.keep_alive:.0f}"}
        return headers, body

    def write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the demo's own lines say what happens."""


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news; anything else is a bug of this server and shows."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class ImmichServer:
    """`with ImmichServer(version=(3, 1, 0)) as server:` listens on 127.0.0.1 on a free port, or on `port`.

    version      (2, 7, 2), (3, 1, 0) or (3, 2, 0): what the replies look like
    keep_alive   seconds that an idle connection is kept, 5 as Immich does
    """

    handler = Handler

    def __init__(self, version: tuple[int, int, int] = (2, 7, 2), *, port: int = 0, keep_alive: float = 5.0) -> None:
        self.version, self.port, self.keep_alive = version, port, keep_alive
        self.library = Library()
        self.index = Index(self.library, stable=version >= (3, 1, 0))
        self._listener: Listener | None = None

    def __enter__(self) -> "ImmichServer":
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listen, on the same port as before."""
        if self._listener is None:
            self._listener = self.listen()
            self.port = self._listener.server_address[1]
            threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def listen(self) -> Listener:
        handler = type("BoundHandler", (self.handler,), {"immich": self, "timeout": self.keep_alive})
        return Listener(("127.0.0.1", self.port), handler)

    def down(self) -> None:
        """Refuse connections, until `up()`."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown()
            listener.server_close()

    def route(self, call: Call) -> Reply:
        return routes.answer(call)
