"""3.x: the faces that the listing did not tell, by a backup, one stream or one request an asset, and what they make of
it.
"""

import json

from ..immich import faces
from ..immich.backup import Backup
from ..immich.client import Client, understanding
from .judge import judge, text
from .state import Asset, State


def from_stream(client: Client, state: State, version: tuple[int, int, int], least: float) -> None:
    """Judge every asset whose faces are not known yet by one stream, which needs a login."""
    names = dict[str, str]()        # of people, by their ids

    def store(rows: faces.Rows) -> None:
        names.update((row["id"], text(row, "name")) for kind, row in rows if kind == "person")
        with state.writing() as db:
            db.executemany("INSERT OR REPLACE INTO stream_faces VALUES (?, ?, ?)", (
                (row["id"], row["assetId"], json.dumps(row)) for kind, row in rows if kind == "face"))
    with state.writing() as db:
        db.execute("CREATE TEMP TABLE stream_faces (face TEXT PRIMARY KEY, asset TEXT, row TEXT) WITHOUT ROWID")
        db.execute("CREATE INDEX temp.stream_by_asset ON stream_faces (asset)")
    faces.stream(client, version, store)
    for asset in state.walk("outcome = 'ask'"):
        found = [json.loads(row) for row, in state.all("SELECT row FROM stream_faces WHERE asset = ?", asset.id)]
        for face in found:
            person = text(face, "personId")
            face["person"] = {"id": person, "name": names.get(person, "")} if person else None
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


def _settle(state: State, asset: Asset, outcome: str, found: str) -> None:
    with state.writing() as db:
        db.execute("UPDATE assets SET outcome = ?, faces = ? WHERE id = ?", (outcome, found, asset.id))
