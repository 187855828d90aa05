"""What is written to Immich, by a key of its own: the names of people, and albums; `allowed` lets no other write pass.

Every request here can be repeated: a name is set, photos that an album has are passed over, an album whose making was
not answered is found by the sign in its description, and one that went is not asked to go again.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..common import terminal
from ..common.errors import Failure, NotAllowed, Paused
from ..formats.queue import Queue
from . import allowed, preflight
from .breaker import Breaker
from .client import Access, Client, Rejected, Transient, understanding

NAMES = ("person.read", "person.update")        # permissions
ALBUMS = ("album.read", "album.create", "album.delete", "albumAsset.create", "albumAsset.delete")
AT_ONCE = 1000      # photos put into an album by one request
PROBED = 20         # people of the last stage, one of whom the key must open

T = TypeVar("T")


def opened(access: Access, queue: Queue, permissions: Sequence[str]) -> "Writer":
    """Refuses a key that lacks permissions, or is not surely that of the user whose last stage wrote `queue`: the
    server says so, where the key may ask, and else it opens one of the people that the stage saw.
    """
    client = Client(access, Breaker(1, pause=access.retry_pause, tell=terminal.say), threading.Event())
    server = preflight.greet(client)
    preflight.require(client, server, permissions, "IMMICH_WRITE_API_KEY")
    people = dict.fromkeys(face.person_id for faces in queue.faces.values() for face in faces if face.person_id)
    writer, ids, stage = Writer(client), list(people)[:PROBED], f"python immich_stage.py --user {queue.user}"
    if told := bool(queue.owner) and server.may("user.read"):
        me = preflight.whose(client, server)
        if me.owner != queue.owner:
            raise NotAllowed(f"IMMICH_WRITE_API_KEY belongs to {terminal.safe(me.email, 80)}, {queue.user} is another "
                             "user there; give that user's own key")
    elif not ids:
        raise NotAllowed(f"nobody whom Immich knows is on the photos of {queue.user}, so nothing tells whose "
                         "IMMICH_WRITE_API_KEY is; in Immich: Account Settings, API Keys, give that key user.read as "
                         "well" + ("" if queue.owner else f", and run {stage}"))
    if ids and all(writer.name_of(person) is None for person in ids):
        perhaps = "if" if told else f"is IMMICH_WRITE_API_KEY that of {queue.user}? If"
        raise NotAllowed(f"none of the people that the last stage of {queue.user} saw is there for this key; {perhaps} "
                         f"Immich recognised faces anew since: {stage}")
    return writer


class Refused(Failure):
    """This one is not done; others may be."""


class Writer:
    def __init__(self, client: Client) -> None:
        self.client, self.url = client, client.access.url

    def name_of(self, person: str) -> str | None:
        """What Immich calls a person, "" nobody named, None where this key opens no such person."""
        def ask() -> str | None:
            if not allowed.ID.fullmatch(f"/{person}"):
                return None
            try:
                reply = self.client.get(f"/people/{person}")
            except Rejected:
                return None
            with understanding("/people"):
                return str(reply["name"] or "").strip()
        return self._in_words(ask)

    def rename(self, person: str, name: str) -> None:
        self._json("PUT", f"/people/{person}", {"name": name})

    def albums(self) -> dict[str, str]:
        """The descriptions of the user's albums, by their ids."""
        reply = self._json("GET", "/albums")
        with understanding("/albums"):
            return {str(item["id"]): str(item["description"]) for item in reply}

    def make_album(self, name: str, about: str) -> str:
        """The id of a new empty album, or of the one with this description, which is no other's, that is there."""
        def attempt() -> str:
            with understanding("/albums"):
                there = [str(item["id"]) for item in self.client.json_once("GET", "/albums")
                         if item["description"] == about]
                return there[0] if there else str(self.client.json_once(
                    "POST", "/albums", {"albumName": name, "description": about})["id"])
        return self._in_words(lambda: self.client.retrying(attempt))

    def add(self, album: str, photos: Sequence[str]) -> int:
        """Put photos into an album; how many Immich refused."""
        refused = 0
        for start in range(0, len(photos), AT_ONCE):
            reply = self._json("PUT", f"/albums/{album}/assets", {"ids": photos[start:start + AT_ONCE]})
            with understanding("/albums"):
                refused += sum(item.get("error") not in (None, "duplicate") for item in reply)
        return refused

    def remove(self, album: str, photos: Sequence[str]) -> None:
        for start in range(0, len(photos), AT_ONCE):
            self._json("DELETE", f"/albums/{album}/assets", {"ids": photos[start:start + AT_ONCE]})

    def delete_if_empty(self, album: str) -> int:
        """Take an album away, if it is there, unless there are photos in it; how many."""
        def attempt() -> int:
            with understanding("/albums"):
                there = {str(item["id"]): int(item["assetCount"]) for item in self.client.json_once("GET", "/albums")}
            if there.get(album) == 0:
                self.client.json_once("DELETE", f"/albums/{album}")
            return there.get(album, 0)
        return self._in_words(lambda: self.client.retrying(attempt))

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._in_words(lambda: self.client.json(method, path, body))

    def _in_words(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except Transient as error:
            raise Paused(f"{self.url} does not take it: {error}; what was done is written down, the same command goes "
                         "on") from None
        except Rejected as error:
            raise Refused(f"{self.url} refuses it: {error}") from None
