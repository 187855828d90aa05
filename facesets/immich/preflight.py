"""Before anything else: is this an Immich that we can read, and whose library does the key open?"""

import contextlib
import os
import ssl
import threading
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..common import files, terminal
from ..common.errors import Failure, NotAllowed, Paused, SettingsError
from .client import KEY, WRONG_SHAPE, Access, Client, Rejected, Stopped, Transient, is_local, needed, understanding

SPARING = ("asset.statistics",)     # without it the timeline is counted
NEEDED = ("asset.read", "asset.download", "asset.view", "user.read")
OLDEST = (2, 0, 0)      # before, search replied no face boxes and downloads lay elsewhere
FIRST_TRIES = 4         # of the very first request: a wrong address should be told soon


@dataclass(frozen=True)
class Server:
    version: tuple[int, int, int]
    permissions: frozenset[str] | None  # of the key; None: a login, which may everything
    owner: str = ""                     # the user's id
    name: str = ""
    email: str = ""

    def __str__(self) -> str:
        return f"Immich {'.'.join(map(str, self.version))}"

    def may(self, permission: str) -> bool:
        return self.permissions is None or bool({"all", permission} & self.permissions)

    @property
    def boxes_in_search(self) -> bool:
        """2.x gives every face box with the search."""
        return self.version < (3, 0, 0)

    @property
    def faces_by(self) -> str:
        """How face boxes are read."""
        if self.boxes_in_search:
            return "search"
        return "sync stream" if self.permissions is None else "one request an asset"

    @property
    def key(self) -> str:
        """What our key lacks, in words."""
        if self.permissions is None:
            return "by a login"
        lacks = [name for name in SPARING if not self.may(name)]
        return "the key lacks nothing" + (f" but {', '.join(lacks)}, which spares requests" if lacks else "")

    @property
    def total_order(self) -> bool:
        """From 3.1 on a search sorts equal dates by id."""
        return self.version >= (3, 1, 0)


def base_url(text: str) -> str:
    """The base URL without /api and trailing slashes. Raises SettingsError where it is none."""
    if not text:
        raise SettingsError("no server; export IMMICH_URL=https://photos.example.org")
    url = text.strip().rstrip("/").removesuffix("/api").rstrip("/")      # HTTP:// is http://
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urllib.parse.urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise SettingsError("IMMICH_URL is no server's address; it must look like https://photos.example.org, with "
                            "nothing behind it")     # it is not repeated, since a key may have slipped into it
    if parts.username or parts.password:
        raise SettingsError("IMMICH_URL holds a user name or password; give the server's address alone")
    if parts.scheme == "http" and not is_local(url):
        terminal.say(f"warning: {parts.geturl()} is not encrypted; key and photos can be read on the way")
    return parts.geturl()


def authority(ca_file: Path | None) -> Path | None:
    """The certificates to verify the server's by: --ca-file, else what the environment names, as for requests; None:
    the authorities that browsers trust. Raises SettingsError where they cannot be read.
    """
    named = {"--ca-file": ca_file, **{name: os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}}
    for source, place in named.items():
        if place:
            path = Path(place)
            try:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                if path.is_dir() and source != "--ca-file":     # of certificates named by their hash
                    context.load_verify_locations(capath=path)
                else:
                    context.load_verify_locations(cafile=path)
            except OSError as error:
                reason = "there is no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
                raise SettingsError(f"{source} {path} is no file of certificates in PEM form ({reason})") from None
            return path
    return None


def access(settings: Any, header: tuple[str, str], may_write: bool = False) -> Access:
    """By the section `Server` of the settings. Raises SettingsError."""
    return Access(base_url(settings.immich_url), header, authority(settings.ca_file), settings.connect_timeout,
                  settings.read_timeout, settings.retry_pause, may_write=may_write)


def check(client: Client) -> Server:
    """Ask the server who it is and who we are. Raises a Failure that says what to do."""
    server = greet(client)
    require(client, server, NEEDED if server.boxes_in_search else (*NEEDED, "face.read"))
    return whose(client, server)


def whose(client: Client, server: Server) -> Server:
    """The server, with the user whose key or login we have."""
    with needed(f"{client.access.url} does not answer as it should"), understanding(client.access.url):
        me = client.get("/users/me")
        return replace(server, owner=str(me["id"]), name=str(me["name"]), email=str(me["email"]))


def greet(client: Client) -> Server:
    """Ask the server who it is, and what our key may. Raises a Failure that says what to do."""
    url = client.access.url
    try:
        if client.get("/server/ping", FIRST_TRIES) != {"res": "pong"}:
            raise SettingsError(f"{url} is not Immich: /api/server/ping does not answer pong; check IMMICH_URL")
    except Transient as error:
        if "web page" in str(error) or "other than JSON" in str(error) or str(error).startswith("404"):
            raise SettingsError(f"{url} has no Immich API: {error}; check IMMICH_URL") from None
        raise Paused(f"{url} cannot be reached: {error}; check the address and the network") from None
    except Rejected as error:
        raise SettingsError(f"{url} has no Immich API ({error}); check IMMICH_URL") from None
    with needed(f"{url} does not answer as it should"), understanding(url):
        said = client.get("/server/version")
        server = Server((int(said["major"]), int(said["minor"]), int(said["patch"])), None)
        if server.version < OLDEST:
            raise Failure(f"{url} is {server}; update it to 2.0 or newer")
        if client.access.header[0] != KEY:
            return server
        return replace(server, permissions=frozenset(map(str, client.get("/api-keys/me")["permissions"])))


def require(client: Client, server: Server, permissions: Sequence[str], variable: str = "IMMICH_API_KEY") -> None:
    """Raise NotAllowed naming the permissions that the key lacks."""
    missing = [name for name in permissions if not server.may(name)]
    if missing:
        raise NotAllowed(f"{client.access.url} is {server}: the key lacks the permission{'s' * (len(missing) > 1)} "
                         f"{', '.join(missing)}; in Immich: Account Settings, API Keys, edit that of {variable}")


def is_user(server: Server, label: str, users: Path, bound: str) -> None:
    """Refuse a key that is not the label's: by users.json, or by the user this label had at its first run (`bound`)."""
    wanted = ""
    if users.exists():
        entry = files.read_json(users).get(label, "")
        wanted = str(entry.get("id", "")) if isinstance(entry, Mapping) else str(entry)
    for owner, source, way_out in (
            (wanted, str(users), "if that file is wrong, mend it"),
            (bound, "the first run of this label", "if that had the wrong key, --rebind gives the label to this one")):
        if owner and owner != server.owner:
            raise NotAllowed(
                f"this key belongs to {terminal.safe(server.email, 80)} ({server.owner}), but {label} is "
                f"{terminal.safe(owner, 80)} by {source}; every user needs their own key, "
                f"because an admin's key gives the admin's photos; {way_out}")


def login(client: Client, email: str, password: str) -> str:
    """The token of a new session; close it with `logout`."""
    try:
        reply = client.json("POST", "/auth/login", {"email": email, "password": password})
        return str(reply["accessToken"])
    except NotAllowed:
        raise NotAllowed("the server refuses IMMICH_EMAIL and IMMICH_PASSWORD; check them") from None
    except (Transient, Rejected, *WRONG_SHAPE) as error:
        raise Paused(f"{client.access.url}: no login ({terminal.safe(error, 200)})") from None


def logout(client: Client) -> None:
    """Close the session; if the server is silent it ends by itself, and who stops the run does not wait for that."""
    def ask() -> None:
        with contextlib.suppress(Transient, Rejected, Failure, Stopped):
            client.json_once("POST", "/auth/logout", {})
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(0.5 if client.stop.is_set() else client.access.read_timeout)
