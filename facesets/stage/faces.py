"""3.x: the faces that the listing did not tell, by a backup, one stream or one request an asset, and what they make of
it.
"""

import json
from typing import Any

from ..immich import faces
from ..immich.backup import Backup
from ..immich.client import Client, understanding
from .judge import judge, text
from .state import Asset, State


def from_stream(client: Client, state: State, version: tuple[int, int, int], least: float) -> None:
    """Judge every asset whose faces are not known yet by one stream, which needs a login."""
    with state.writing() as db:
        for table in ("stream_faces", "stream_people"):
            db.execute(f"DROP TABLE IF EXISTS {table}")
        db.execute("CREATE TEMP TABLE stream_faces (face TEXT PRIMARY KEY, asset TEXT, person TEXT, row TEXT) "
                   "WITHOUT ROWID")
        db.execute("CREATE INDEX temp.stream_by_asset ON stream_faces (asset)")
        db.execute("CREATE TEMP TABLE stream_people (id TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID")
    faces.stream(client, version, lambda rows: _store(state, rows))
    for asset in state.walk("outcome = 'ask'"):
        found = [{**json.loads(face), "person": {"id": person, "name": name or ""} if person else None}
                 for face, person, name in state.all(
                     "SELECT row, person, name FROM stream_faces LEFT JOIN stream_people ON id = person "
                     "WHERE asset = ?", asset.id)]
        _settle(state, asset, *judge(found, (asset.width, asset.height), least))


def from_backup(state: State, backup: Backup, least: float) -> None:
    """Judge every asset whose faces are not known yet, but in which Immich had looked for faces at the backup, if it
    shows the same people now; by the names that they have now.
    """
    for asset in state.walk("outcome = 'ask'"):
        found = backup.rows(asset.id)       # in the frame of the unedited photo
        now = json.loads((state.one("SELECT people FROM temp.peopled WHERE id = ?", asset.id) or ("{}",))[0])
        for person in (face["person"] for face in found):
            person["name"] = now.get(person["id"], "")
        same = {face["person"]["id"] for face in found} - {""} == set(now)
        if same and (found or asset.id in backup.searched):
            _settle(state, asset, *judge(found, (asset.width, asset.height), least))


def from_asset(client: Client, state: State, asset: Asset, least: float) -> None:
    """Judge one asset by GET /faces. Raises Transient and Rejected."""
    found = faces.of_asset(client, asset.id)
    edited = json.loads(asset.edited) if asset.edited else None      # the boxes are moved into the edited picture
    with understanding("/faces"):
        judged = judge(found, tuple(edited) if edited else (asset.width, asset.height), least, placed=not edited)
    _settle(state, asset, *judged)


def _store(state: State, rows: list[tuple[str, dict[str, Any]]]) -> None:
    with state.writing() as db:
        db.executemany("INSERT OR REPLACE INTO stream_people VALUES (?, ?)", (
            (row["id"], text(row, "name")) for kind, row in rows if kind == "person"))
        db.executemany("INSERT OR REPLACE INTO stream_faces VALUES (?, ?, ?, ?)", (
            (row["id"], row["assetId"], text(row, "personId"), json.dumps(row))
            for kind, row in rows if kind == "face"))


def _settle(state: State, asset: Asset, outcome: str, found: str) -> None:
    with state.writing() as db:
        db.execute("UPDATE assets SET outcome = ?, faces = ? WHERE id = ?", (outcome, found, asset.id))
