"""The local Immich of tests and benchmarks: it commits faults, logs what it is asked, speaks TLS, comes and goes."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from facesets.fake_immich.library_model import Asset, Face, Person, User
from facesets.fake_immich.protocol import ApiError, Call, Reply, error_reply, unreadable
from facesets.fake_immich.replies import dumps
from facesets.fake_immich.server import Handler, ImmichServer, Listener

from . import routes  # noqa: F401 - so that this server answers them
from .faults import Fault, Faults
from .request_log import Request, RequestLog

SEND = 1 << 18          # bytes per write, the precision of the log when a client hangs up
LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Login</title></head><body><form>Please sign in</form></body></html>"
NO_FAULT = Fault("none")


class LabHandler(Handler):
    """Every request is logged, and held against the list of faults."""

    immich: "LabServer"
    fault: Fault
    entry: Request

    def setup(self) -> None:
        self.immich.connected(self.request)
        self.timeout = self.immich.keep_alive      # as it is by now
        super().setup()

    def finish(self) -> None:
        self.immich.disconnected(self.request)
        super().finish()

    def answer(self) -> None:
        call = self.call()
        self.entry = self.immich.log.begin(call.method, call.path, call.query, call.headers, call.body)
        self.fault = self.immich.faults.strike(call.method, call.path) or NO_FAULT
        self.entry.fault = "" if self.fault is NO_FAULT else self.fault.kind
        try:
            if self.fault.kind == "delay":
                self.immich.sleep(self.fault.seconds)
            elif self.fault.kind == "down":
                self.immich.down(self.fault.seconds or None)
            if self.fault.kind in ("reset", "down"):
                self._reset()
            else:
                reply = self.reply(call)
                self.entry.user = call.found_user.name if call.found_user else ""
                self.send(reply)
        finally:
            self.immich.log.end(self.entry)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def reply(self, call: Call) -> Reply:
        fault, correlation = self.fault, "fa017000"
        if fault.kind == "ignore_range":
            call.headers = {name: value for name, value in call.headers.items() if name != "range"}
        elif fault.kind == "status":
            reply = error_reply(ApiError(fault.status, HTTPStatus(fault.status).phrase), (2, 0, 0), correlation)
            if fault.retry_after is not None:
                reply.headers["Retry-After"] = f"{fault.retry_after:g}"
            return reply
        elif fault.kind == "json_image":
            return unreadable(correlation)
        elif fault.kind == "html":
            return Reply(200, LOGIN_PAGE, "text/html; charset=utf-8", id_header=False)
        elif fault.kind == "redirect":
            return Reply(302, b"Found", "text/plain; charset=utf-8", {"Location": fault.location})
        elif isinstance(call.body, bytes):      # no JSON
            if call.version[0] < 3:
                message = {"message": "Unexpected end of JSON input", "error": "Bad Request", "statusCode": 400}
                return Reply(400, dumps(message).encode(), id_header=False)
            text = dumps({"message": "Expected property name or '}' in JSON at position 1 (line 1 column 2)"})
            return Reply(400, text.encode(), headers={"X-Correlation-ID": "undefined"})
        return super().reply(call)

    def framed(self, reply: Reply) -> tuple[dict[str, str], bytes]:
        off = {"long": self.fault.piece, "short": -self.fault.piece}.get(self.fault.kind, 0)
        if off:
            del self.headers["Accept-Encoding"]     # a packed body has no length to be wrong
        headers, body = super().framed(reply)
        if off and "Content-Length" in headers:
            headers["Content-Length"] = str(max(0, len(body) + off))
        self.entry.status = reply.status
        return headers, body

    def write(self, body: bytes) -> None:
        fault, kind = self.fault, self.fault.kind
        keep = fault.cut_at(len(body))
        if kind == "wrong_bytes":
            self._write(body[:keep] + bytes(255 - byte for byte in body[keep:]))
        elif kind == "trickle":
            for start in range(0, len(body), fault.piece):
                self._write(body[start:start + fault.piece])
                self.immich.sleep(fault.seconds)
        elif kind == "stall":
            self._write(body[:keep])
            self.immich.sleep(fault.seconds)
            self._write(body[keep:])
        elif kind in ("stop", "cut"):
            self._write(body[:keep])
            self.close_connection = True
            if kind == "stop":
                self._reset()
        else:
            self._write(body)
            self.close_connection |= kind in ("long", "short")

    def _write(self, data: bytes) -> None:
        """Counted before it is sent, so that whoever has the last byte finds it in the log."""
        for start in range(0, len(data), SEND):
            piece = data[start:start + SEND]
            self.entry.sent += len(piece)
            super().write(piece)

    def _reset(self) -> None:
        """Close so that the other side gets a reset, not an end."""
        self.close_connection = True
        try:
            time.sleep(0.01)    # let what was written arrive first
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        except OSError:
            pass


class LabServer(ImmichServer):
    """An ImmichServer with `faults` to commit, the `log` of what was asked, and short ways to fill its library.

    tls          a server-side ssl.SSLContext; `url` is then https
    """

    handler = LabHandler

    def __init__(self, version: tuple[int, int, int] = (2, 7, 2), *, port: int = 0, keep_alive: float = 5.0,
                 tls: ssl.SSLContext | None = None) -> None:
        super().__init__(version, port=port, keep_alive=keep_alive)
        self.tls = tls
        self.faults, self.log = Faults(), RequestLog()
        self.library.albums, self.library.deleted = {}, []      # what `routes` tells of
        self._stopping, self._turn, self._guard = threading.Event(), threading.Lock(), threading.Lock()
        self._connections: set[socket.socket] = set()

    def __enter__(self) -> "LabServer":
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        super().__exit__()

    @property
    def url(self) -> str:
        return super().url if self.tls is None else super().url.replace("http:", "https:")

    def listen(self) -> Listener:
        listener = super().listen()
        if self.tls is not None:
            listener.socket = self.tls.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
        return listener

    def connected(self, connection: socket.socket) -> None:
        with self._guard:
            self._connections.add(connection)
            self.log.connections += 1

    def disconnected(self, connection: socket.socket) -> None:
        with self._guard:
            self._connections.discard(connection)

    def down(self, seconds: float | None = None) -> None:
        """Away for `seconds`, or until `up()`; open connections are dropped."""
        with self._turn:
            super().down()
        with self._guard:
            connections, self._connections = self._connections, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if seconds is not None:
            timer = threading.Timer(seconds, self._up_again)
            timer.daemon = True
            timer.start()

    def _up_again(self) -> None:
        if not self._stopping.is_set():
            self.up()

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than the server lives."""
        self._stopping.wait(seconds)

    def add_user(self, name: str, **options: Any) -> User:
        return self.library.add_user(name, **options)

    def add_key(self, user: User, permissions: Iterable[str] = ("all",), name: str = "key") -> str:
        """The secret of a new key."""
        return self.library.add_key(user, permissions, name).secret

    def add_person(self, user: User, name: str = "", **options: Any) -> Person:
        return self.library.add_person(user, name, **options)

    def add_asset(self, user: User, content: Path | bytes | Callable[[], bytes] | None = None, **options: Any) -> Asset:
        return self.library.add_asset(user, content, **options)

    def face(self, box: Sequence[float], width: int, height: int, person: Person | None = None, **options: Any) -> Face:
        return self.library.face(box, width, height, person, **options)

    def change_asset(self, asset: Asset, **fields: Any) -> None:
        with self.library.lock:
            for name, value in fields.items():
                setattr(asset, name, value)
            asset.updated += 1000
            asset.change = self.library.changed()

    def delete_asset(self, asset: Asset) -> None:
        with self.library.lock:
            del self.library.assets[asset.id]
            self.library.deleted.append((self.library.changed(), "Asset", asset.id, asset.owner.id))

    def delete_person(self, person: Person) -> None:
        """The faces of a deleted person stay, unassigned."""
        with self.library.lock:
            del self.library.people[person.id]
            self.library.deleted.append((self.library.changed(), "Person", person.id, person.owner.id))
            for face in (face for asset in self.library.assets.values() for face in asset.faces):
                if face.person is person:
                    face.person, face.change = None, self.library.changed()
