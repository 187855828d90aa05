"""Face boxes where the search does not carry them (3.x): one stream for a login, else one request an asset."""

import json
from collections.abc import Iterable

from ..common.errors import Failure, Paused
from ..stage.state import Asset, State
from .client import WRONG_SHAPE, Client, Rejected, Transient, understanding
from .listing import judge

BATCH = 1000        # faces stored at once
TYPES = ("PeopleV1", "AssetFacesV2")


@understanding("the stream of faces")
def from_stream(client: Client, state: State, least: float) -> None:
    """Judge every asset whose faces are not known yet by one POST /sync/stream, which needs a login."""
    _tables(state)
    try:
        client.retrying(lambda: _receive(client, state), 3)
    except (Transient, Rejected) as error:
        raise Paused(f"{client.access.url} does not stream the faces: {error}") from None
    for asset in state.walk("outcome = 'ask'"):
        found = [{**json.loads(text), "person": {"id": person, "name": name or ""} if person else None}
                 for text, person, name in state.all(
                     "SELECT row, person, name FROM stream_faces LEFT JOIN stream_people ON id = person "
                     "WHERE asset = ?", asset.id)]
        _judged(state, asset, *judge(found, (asset.width, asset.height), least))


def peopled(client: Client, state: State, visibilities: Iterable[str]) -> None:
    """3.2: note the assets that show somebody whom Immich knows, so that they are asked about first.

    The others are asked about too, because a face that nobody is assigned to makes no people.
    """
    with state.writing() as db:
        db.execute("CREATE TEMP TABLE IF NOT EXISTS peopled (id TEXT PRIMARY KEY) WITHOUT ROWID")
    for visibility in visibilities:
        cursor: str | None = ""
        while cursor is not None:
            body = {"filter": {"type": "IMAGE", "visibility": visibility, "hasPeople": True}, "size": BATCH}
            try:
                reply = client.post("/search/metadata", {**body, **({"cursor": cursor} if cursor else {})})["assets"]
                ids = [(item["id"],) for item in reply["items"]]
                with state.writing() as db:
                    fresh = db.executemany("INSERT OR IGNORE INTO peopled VALUES (?)", ids).rowcount
                cursor = reply.get("nextPage") if fresh else None       # else pages without end would go on for ever
            except (Transient, Rejected, *WRONG_SHAPE):
                return      # it only orders the work


@understanding("/faces")
def from_asset(client: Client, state: State, asset: Asset, least: float) -> None:
    """Judge one asset by GET /faces. Raises Transient and Rejected."""
    found = client.get("/faces", id=asset.id)
    if not isinstance(found, list):
        raise Failure("/faces answers unlike any Immich that we know; is a proxy in between?")
    edited = json.loads(asset.edited) if asset.edited else None      # the boxes are moved into the edited picture
    _judged(state, asset, *judge([face for face in found if isinstance(face, dict)],
                                 tuple(edited) if edited else (asset.width, asset.height), least, placed=not edited))


def _judged(state: State, asset: Asset, outcome: str, faces: str) -> None:
    with state.writing() as db:
        db.execute("UPDATE assets SET outcome = ?, faces = ? WHERE id = ?", (outcome, faces, asset.id))


def _tables(state: State) -> None:
    with state.writing() as db:
        for table in ("stream_faces", "stream_people"):
            db.execute(f"DROP TABLE IF EXISTS {table}")
        db.execute("CREATE TEMP TABLE stream_faces (face TEXT PRIMARY KEY, asset TEXT, person TEXT, row TEXT) "
                   "WITHOUT ROWID")
        db.execute("CREATE INDEX temp.stream_by_asset ON stream_faces (asset)")
        db.execute("CREATE TEMP TABLE stream_people (id TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID")


def _receive(client: Client, state: State) -> None:
    """One attempt at the whole stream; a stream without its last line was cut off."""
    faces: list[tuple[str, str, str, str]] = []
    complete, rest = False, b""
    with client.open("POST", "/sync/stream", {"types": list(TYPES)}) as answer:
        for chunk in client.chunks(answer):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                complete |= _line(state, line, faces)
            if len(faces) >= BATCH:
                _store(state, faces)
    complete |= _line(state, rest, faces)
    _store(state, faces)
    if not complete:
        raise Transient("the stream of faces was cut off")


def _line(state: State, line: bytes, faces: list[tuple[str, str, str, str]]) -> bool:
    """Take in one line; True for the one that says that all is sent."""
    if not line.strip():
        return False
    try:
        event = json.loads(line)
        kind, data = event["type"], event["data"]
        if kind == "AssetFaceV2":
            faces.append((data["id"], data["assetId"], data.get("personId") or "", json.dumps(data)))
        elif kind == "PersonV1":
            with state.writing() as db:
                db.execute("INSERT OR REPLACE INTO stream_people VALUES (?, ?)", (data["id"], data.get("name") or ""))
        return bool(kind == "SyncCompleteV1")
    except (RecursionError, *WRONG_SHAPE):
        raise Transient("the stream of faces is damaged") from None


def _store(state: State, faces: list[tuple[str, str, str, str]]) -> None:
    with state.writing() as db:
        db.executemany("INSERT OR REPLACE INTO stream_faces VALUES (?, ?, ?, ?)", faces)
    faces.clear()
