"""HTTP as Immich speaks it: one request in, a reply or an error body out, kept-alive connections, ETags, gzip.

A route is a function `(Call) -> Reply`; it raises ApiError for everything that is not well. `Handler` runs the routes,
writes the log and commits the faults.
"""

import base64
import gzip
import hashlib
import json
import re
import secrets
import socket
import struct
import time
import urllib.parse
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from .faults import Fault
from .library_model import Library, User
from .replies import dumps
from .request_log import Request

if TYPE_CHECKING:
    from .server import ImmichServer

GZIP_FROM = 1024        # bytes; Immich compresses JSON from here on
SEND = 1 << 18          # bytes per write, the precision of the log when a client hangs up
LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Login</title></head><body><form>Please sign in</form></body></html>"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class ApiError(Exception):
    """An error reply. `message` is a text, or a list of texts where Immich validates fields."""

    def __init__(self, status: int, message: str | list[str], headers: dict[str, str] | None = None,
                 kind: str = "application/json; charset=utf-8") -> None:
        super().__init__(message)
        self.status, self.message, self.headers, self.kind = status, message, headers or {}, kind


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    kind: str = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    id_header: bool = True          # x-immich-cid; replies from outside the API have none


@dataclass
class Call:
    """One authenticated request, as routes see it."""

    server: "ImmichServer"
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    id: str = ""                    # from the path
    found_user: User | None = None
    permissions: tuple[str, ...] = ()
    session: str = ""               # token of a login, "" for a key

    @property
    def user(self) -> User:
        assert self.found_user is not None
        return self.found_user

    @property
    def library(self) -> Library:
        return self.server.library

    @property
    def version(self) -> tuple[int, int, int]:
        return self.server.version


def json_reply(value: object, status: int = 200) -> Reply:
    return text_reply(dumps(value), status)


def text_reply(text: str, status: int = 200) -> Reply:
    return Reply(status, text.encode("utf-8", "replace"))     # a lone surrogate is no UTF-8


def uuid_of(text: object, name: str = "id") -> str:
    if not isinstance(text, str) or not UUID.fullmatch(text):
        raise ApiError(400, [f"{name} must be a UUID"])
    return text.lower()


def error_reply(error: ApiError, version: tuple[int, int, int], correlation: str) -> Reply:
    reason = HTTPStatus(error.status).phrase
    body: dict[str, Any] = {"message": error.message, "error": reason, "statusCode": error.status,
                            "correlationId": correlation}
    if error.status == 500:
        del body["error"]
    if version[0] >= 3:
        body = {"message": error.message if isinstance(error.message, str) else "; ".join(error.message)}
    return Reply(error.status, dumps(body).encode(), error.kind, dict(error.headers))


class Handler(BaseHTTPRequestHandler):
    """One connection; `server` is the listening socket, `server.immich` the ImmichServer."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    immich: "ImmichServer"

    def setup(self) -> None:
        self.request.settimeout(self.immich.keep_alive)
        self.immich.connected(self.request)
        super().setup()

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:
            pass
        self.immich.disconnected(self.request)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def answer(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        raw = self.rfile.read(int(headers.get("content-length") or 0))
        try:
            body, broken = (json.loads(raw) if raw else None), False
        except ValueError:
            body, broken = None, True
        entry = self.immich.log.begin(self.command, parts.path, query, headers, body)
        try:
            call = Call(self.immich, self.command, parts.path, query, headers, body)
            fault = self.immich.faults.strike(self.command, parts.path)
            if fault is not None:
                entry.fault = fault.kind
            if fault is not None and self._refused(fault):
                return
            reply = self._reply(call, fault, broken)
            entry.user = call.found_user.name if call.found_user else ""
            self._send(reply, fault, entry)
        finally:
            self.immich.log.end(entry)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def _refused(self, fault: Fault) -> bool:
        """Faults that come before any answer."""
        if fault.kind == "delay":
            self.immich.sleep(fault.seconds)
        elif fault.kind == "down":
            self.immich.down(fault.seconds or None)
        if fault.kind in ("reset", "down"):
            self._reset()
            return True
        return False

    def _reply(self, call: Call, fault: Fault | None, broken: bool) -> Reply:
        correlation = secrets.token_hex(4)
        reply = _faulty(fault, correlation) if fault is not None else None
        if fault is not None and fault.kind == "ignore_range":
            call.headers = {name: value for name, value in call.headers.items() if name != "range"}
        if reply is None:
            try:
                if broken:
                    raise ApiError(400, "Unexpected end of JSON input")
                reply = self.immich.route(call)
            except ApiError as error:
                reply = error_reply(error, call.version, correlation)
                if broken:
                    body = {"message": error.message, "error": "Bad Request", "statusCode": 400}
                    reply = Reply(400, dumps(body).encode(), id_header=False)
        if reply.id_header:
            reply.headers.setdefault("x-immich-cid" if call.version[0] < 3 else "X-Correlation-ID", correlation)
        return reply

    def _send(self, reply: Reply, fault: Fault | None, entry: Request) -> None:
        headers = {"X-Powered-By": "Express", **reply.headers, "Content-Type": reply.kind}
        body = reply.body
        streamed = reply.kind == "application/jsonlines+json"
        if "ETag" not in headers and reply.status not in (204, 302, 304) and not streamed:
            digest = base64.b64encode(hashlib.sha1(body).digest()).decode()[:27]
            headers["ETag"] = f'"{len(body):x}-{digest}"'
        if reply.status in (204, 304):
            del headers["Content-Type"]
        elif self._compresses(reply, fault):
            packed = gzip.compress(body, 1, mtime=0)
            body = f"{len(packed):x}\r\n".encode() + packed + b"\r\n0\r\n\r\n"
            headers |= {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}
        else:
            off = {"long": fault.piece, "short": -fault.piece}.get(fault.kind, 0) if fault is not None else 0
            headers["Content-Length"] = str(max(0, len(body) + off))
        headers |= {"Vary": "Accept-Encoding", "Date": self.date_time_string(), "Connection": "keep-alive",
                    "Keep-Alive": f"timeout={self.immich.keep_alive:.0f}"}
        self.send_response_only(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        entry.status = reply.status
        if self.command != "HEAD":
            self._send_body(body, fault, entry)

    def _compresses(self, reply: Reply, fault: Fault | None) -> bool:
        """Immich gzips JSON from 1 KB on, in chunks of unknown length."""
        return ("gzip" in self.headers.get("Accept-Encoding", "") and len(reply.body) >= GZIP_FROM
                and reply.kind.startswith("application/json") and self.command != "HEAD"
                and (fault is None or fault.kind not in ("long", "short")))

    def _send_body(self, body: bytes, fault: Fault | None, entry: Request) -> None:
        kind = fault.kind if fault is not None else ""
        if fault is None or kind not in ("stall", "trickle", "stop", "cut", "wrong_bytes", "long", "short"):
            self._write(body, entry)
            return
        keep = fault.cut_at(len(body))
        if kind == "wrong_bytes":
            self._write(body[:keep] + bytes(255 - byte for byte in body[keep:]), entry)
        elif kind == "trickle":
            for start in range(0, len(body), fault.piece):
                self._write(body[start:start + fault.piece], entry)
                self.immich.sleep(fault.seconds)
        elif kind == "stall":
            self._write(body[:keep], entry)
            self.immich.sleep(fault.seconds)
            self._write(body[keep:], entry)
        elif kind in ("stop", "cut"):
            self._write(body[:keep], entry)
            self.close_connection = True
            if kind == "stop":
                self._reset()
        else:
            self._write(body, entry)
            self.close_connection = True

    def _write(self, data: bytes, entry: Request) -> None:
        """Counted before it is sent, so that whoever has the last byte finds it in the log."""
        for start in range(0, len(data), SEND):
            piece = data[start:start + SEND]
            entry.sent += len(piece)
            self.wfile.write(piece)
            self.wfile.flush()

    def _reset(self) -> None:
        """Close so that the other side gets a reset, not an end."""
        self.close_connection = True
        try:
            time.sleep(0.01)    # let what was written arrive first
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        except OSError:
            pass

    def log_message(self, format: str, *args: Any) -> None:
        """The request log says it all."""


def _faulty(fault: Fault, correlation: str) -> Reply | None:
    """The reply that stands in for the true one, if this fault has one."""
    if fault.kind == "status":
        reply = error_reply(ApiError(fault.status, HTTPStatus(fault.status).phrase), (2, 0, 0), correlation)
        if fault.retry_after is not None:
            reply.headers["Retry-After"] = f"{fault.retry_after:g}"
        return reply
    if fault.kind == "json_image":
        return unreadable(correlation)
    if fault.kind == "html":
        return Reply(200, LOGIN_PAGE, "text/html; charset=utf-8", id_header=False)
    if fault.kind == "redirect":
        return Reply(302, b"Found", "text/plain; charset=utf-8", {"Location": fault.location})
    return None


def unreadable(correlation: str, headers: dict[str, str] | None = None) -> Reply:
    """What 2.x says of a file that it cannot read: the file's own type on a JSON body."""
    body = dumps({"message": "Internal server error", "statusCode": 500, "correlationId": correlation}).encode()
    return Reply(500, body, "image/jpeg; charset=utf-8", {"Cache-Control": "none", **(headers or {})})
