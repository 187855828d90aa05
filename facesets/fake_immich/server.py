"""A local server that speaks Immich's protocol, for the demo, the tests and the benchmarks; never a place for photos.

Run     python -m facesets.fake_immich.server [--version 2.7.2] [--photos DIR | --bulk N] [--port 0]
Prints  the URL and a key, then serves until Ctrl-C. Answers are those recorded from Immich v2.7.2; what 3.x does
        differently is from its API description and its source.
Exit    0 stopped · 64 usage
"""

import argparse
import http.server
import random
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..common import terminal
from ..common.errors import UsageError
from . import routes_account, routes_assets, routes_search, routes_sync
from .faults import Faults
from .library_model import Asset, Face, Key, Library, Person, User
from .paging import Index
from .protocol import ApiError, Call, Handler, Reply
from .request_log import RequestLog

ID = r"(?P<id>[^/]+)"
ROUTES: tuple[tuple[str, str, str | None, Callable[[Call], Reply]], ...] = (
    # method, path below /api, permission ("" any login, None nobody asks), route
    ("GET", "/server/ping", None, routes_account.ping),
    ("GET", "/server/version", None, routes_account.version),
    ("GET", "/server/features", None, routes_account.features),
    ("GET", "/server/about", "server.about", routes_account.about),
    ("GET", "/server/statistics", "server.statistics", routes_account.statistics),
    ("POST", "/auth/login", None, routes_account.login),
    ("POST", "/auth/logout", "", routes_account.logout),
    ("GET", "/users/me", "user.read", routes_account.users_me),
    ("GET", "/api-keys/me", "", routes_account.api_key_me),
    ("POST", "/search/metadata", "asset.read", routes_search.metadata),
    ("POST", "/search/random", "asset.read", routes_search.at_random),
    ("POST", "/search/statistics", "asset.statistics", routes_search.search_statistics),
    ("GET", "/assets/statistics", "asset.statistics", routes_search.asset_statistics),
    ("GET", "/timeline/buckets", "asset.read", routes_search.buckets),
    ("GET", "/timeline/bucket", "asset.read", routes_search.bucket),
    ("GET", "/faces", "face.read", routes_assets.faces),
    ("GET", f"/assets/{ID}", "asset.read", routes_assets.asset),
    ("GET", f"/assets/{ID}/original", "asset.download", routes_assets.original),
    ("GET", f"/assets/{ID}/thumbnail", "asset.view", routes_assets.thumb),
    ("GET", "/people", "person.read", routes_assets.people),
    ("GET", f"/people/{ID}", "person.read", routes_assets.person),
    ("GET", f"/people/{ID}/statistics", "person.statistics", routes_assets.person_statistics),
    ("GET", f"/people/{ID}/thumbnail", "person.read", routes_assets.person_thumbnail),
    ("POST", "/sync/stream", "", routes_sync.stream),
    ("GET", "/sync/ack", "", routes_sync.acks),
    ("POST", "/sync/ack", "", routes_sync.set_acks),
    ("DELETE", "/sync/ack", "", routes_sync.delete_acks),
)
COMPILED = [(method, re.compile("/api" + path), permission, route) for method, path, permission, route in ROUTES]


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news; anything else is a bug of this server and shows."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError, OSError)):
            super().handle_error(request, client_address)


class ImmichServer:
    """`with ImmichServer(version=(3, 1, 0)) as server:` listens on 127.0.0.1 on a free port.

    version      (2, 7, 2), (3, 1, 0) or (3, 2, 0): what the replies look like
    keep_alive   seconds that an idle connection is kept, 5 as Immich does
    tls          a server-side ssl.SSLContext; `url` is then https
    mounted      False: no file can be read, as if the disk were gone
    faults, log  what to do wrong, and what was asked
    """

    def __init__(self, version: tuple[int, int, int] = (2, 7, 2), *, port: int = 0, keep_alive: float = 5.0,
                 tls: ssl.SSLContext | None = None) -> None:
        self.version, self.port, self.keep_alive, self.tls = version, port, keep_alive, tls
        self.library = Library()
        self.index = Index(self.library, stable=version >= (3, 1, 0))
        self.faults, self.log = Faults(), RequestLog()
        self.mounted = True
        self.draw = random.Random(0)
        self.sessions: dict[str, User] = {}
        self.acks: dict[str, dict[str, int]] = {}       # per session: entity type -> change
        self.thumbnails: dict[tuple[str, int, str], bytes] = {}
        self.thumbnails_lock = threading.Lock()
        self._listener: _Listener | None = None
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._stopping = threading.Event()

    def __enter__(self) -> "ImmichServer":
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.down()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listen, on the same port as before."""
        if self._listener is not None:
            return
        handler = type("BoundHandler", (Handler,), {"immich": self})
        self._listener = _Listener(("127.0.0.1", self.port), handler)
        self.port = self._listener.server_address[1]
        if self.tls is not None:
            self._listener.socket = self.tls.wrap_socket(self._listener.socket, server_side=True,
                                                         do_handshake_on_connect=False)
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def down(self, seconds: float | None = None) -> None:
        """Refuse connections and drop the open ones, for `seconds` or until `up()`."""
        with self._guard:
            listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.shutdown()
        listener.server_close()
        with self._guard:
            connections, self._connections = self._connections, set()
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
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

    def connected(self, connection: socket.socket) -> None:
        with self._guard:
            self._connections.add(connection)
        self.log.connections += 1

    def disconnected(self, connection: socket.socket) -> None:
        with self._guard:
            self._connections.discard(connection)

    # the library, in the words of its users
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

    def route(self, call: Call) -> Reply:
        """Find the route, then the user, then the answer: Immich's order."""
        if not call.path.startswith("/api"):
            return Reply(200, b"", "text/html; charset=utf-8", {"Cache-Control": "no-store"}, id_header=False)
        for method, pattern, permission, route in COMPILED:
            match = pattern.fullmatch(call.path)
            if match and method == ("GET" if call.method == "HEAD" else call.method):
                call.id = match.groupdict().get("id", "")
                if permission is not None:
                    self._authenticate(call)
                    if permission and not {"all", permission} & set(call.permissions):
                        raise ApiError(403, f"Missing required permission: {permission}")
                return route(call)
        raise ApiError(404, f"Cannot {call.method} {call.path}")

    def _authenticate(self, call: Call) -> None:
        secret = call.headers.get("x-api-key") or call.query.get("apiKey")
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" or (not secret and "x-immich-user-token" in call.headers):
            token = token or call.headers["x-immich-user-token"]
            if token not in self.sessions:
                raise ApiError(401, "Invalid user token")
            call.found_user, call.permissions, call.session = self.sessions[token], ("all",), token
        elif secret:
            key: Key | None = self.library.keys.get(secret)
            if key is None:
                raise ApiError(401, "Invalid API key")
            call.found_user, call.permissions = key.user, key.permissions
        else:
            raise ApiError(401, "Authentication required")


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    parser = terminal.Parser(__doc__, prog="python -m facesets.fake_immich.server")
    parser.add_argument("--version", default="2.7.2", help="2.7.2, 3.1.0 or 3.2.0")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="serve the files below DIR")
    parser.add_argument("--bulk", type=int, default=0, metavar="N", help="make up N assets without files")
    args = parser.parse_args(argv)
    serve(args)
    return 0


def serve(args: argparse.Namespace) -> None:
    """Print the address and wait for Ctrl-C."""
    try:
        major, minor, patch = (int(part) for part in args.version.split("."))
    except ValueError:
        raise UsageError(f"{terminal.safe(args.version)!r} is no version such as 2.7.2") from None
    with ImmichServer((major, minor, patch), port=args.port) as server:
        user = server.add_user("demo", admin=True)
        key = server.add_key(user)
        for path in sorted(args.photos.rglob("*")) if args.photos else ():
            if path.is_file():
                server.add_asset(user, path, taken=round(path.stat().st_mtime * 1000), external=True, path=str(path))
        if args.bulk:
            from .library_bulk import fill
            fill(server.library, user, args.bulk)
        server.log.keep = False
        print(f"IMMICH_URL={server.url}\nIMMICH_API_KEY={key}", flush=True)
        terminal.say(f"{len(server.library.assets)} assets of user demo; Ctrl-C stops")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            terminal.say("stopped")


if __name__ == "__main__":
    sys.exit(main())
