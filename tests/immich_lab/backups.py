"""Backups of the local Immich's database: what pg_dump would write of a library, and the routes that give it and the
pictures of people.

Only the tables that matter, and some that nobody may look into; `PASSWORD` and `TOKEN` stand in those.
"""

import gzip
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from facesets.fake_immich import routes
from facesets.fake_immich.library_model import Face, Library, thumbnail
from facesets.fake_immich.protocol import ApiError, Call, Reply, json_reply, unreadable

PASSWORD, TOKEN = "$2b$10$aPasswordHashThatNobodyReads", "aTokenOfSomebodyElse7351"
NAME = "immich-db-backup-20261126T020000-v3.1.0-pg15.20.sql.gz"
HEAD = "--\n-- PostgreSQL database dump\n--\n\nSET client_encoding = 'UTF8';\n\n"
TAIL = "--\n-- PostgreSQL database dump complete\n--\n\n"


def table(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    quoted = ", ".join(f'"{column}"' if column != column.lower() else column for column in columns)
    lines = ["\t".join(map(str, row)) + "\n" for row in rows]
    return f'COPY public.{name} ({quoted}) FROM stdin;\n{"".join(lines)}\\.\n\n\n'


def vector(numbers: Iterable[float]) -> str:
    return "[" + ",".join(f"{number:.8g}" for number in numbers) + "]"


def dump(library: Library, embedding: Callable[[Face], np.ndarray | None], version: tuple[int, int] = (2, 7),
         config: str = "") -> str:
    """The SQL of what the library holds; `embedding` of a face, None for none."""
    assets, faces = list(library.assets.values()), [
        (asset, face) for asset in library.assets.values() for face in asset.faces]
    group = version >= (3, 2)
    person = "personGroupId" if group else "personId"
    columns = ["assetId", person, "imageWidth", "imageHeight", "boundingBoxX1", "boundingBoxY1", "boundingBoxX2",
               "boundingBoxY2", "id", "sourceType", "deletedAt", "isVisible"]
    if version >= (3, 1):
        columns.insert(0, columns.pop())        # an order of its own
    found = [(face, embedding(face)) for _, face in faces]

    def cells(asset_id: str, face: Face) -> list[object]:
        values = {"assetId": asset_id, person: face.person.id if face.person else "\\N", "imageWidth": face.width,
                  "imageHeight": face.height, "id": face.id, "sourceType": "machine-learning",
                  "deletedAt": "2026-01-01 00:00:00+00" if face.deleted else "\\N",
                  "isVisible": "t" if face.visible else "f",
                  **{f"boundingBox{name}": side for name, side in zip(("X1", "Y1", "X2", "Y2"), face.box, strict=True)}}
        return [values[column] for column in columns]
    people = [(one.owner.id, one.name.replace("\t", "\\t"), one.id) for one in library.people.values()]
    return HEAD + "".join((
        table("api_key", ("name", "key", "userId"), [("key", "\\\\x" + TOKEN, "nobody")]),
        table("asset", ("id", "ownerId", "originalFileName"), [(one.id, one.owner.id, one.name) for one in assets]),
        table("asset_face", columns, [cells(asset.id, face) for asset, face in faces]),
        table("asset_job_status", ("assetId", "facesRecognizedAt"), [(one.id, "2026-01-01") for one in assets]),
        table("face_search", ("faceId", "embedding"),
              [(face.id, vector(numbers)) for face, numbers in found if numbers is not None]),
        # 3.2 dropped its id: a person is an owner's for a group, and faces are the group's
        table("person", ("ownerId", "name", person if group else "id"), people),
        table("smart_search", ("assetId", "embedding"), [(one.id, "[1,2,3]") for one in assets]),
        table("system_metadata", ("key", "value"), [("system-config", config)] if config else []),
        table('"user"', ("id", "email", "password"), [("nobody", "x@example.org", PASSWORD)]))) + TAIL


def offer(library: Library, sql: str, name: str = NAME) -> bytes:
    """Let the server have this backup, packed; an older one lies beside it."""
    packed = gzip.compress(sql.encode(), 1)
    library.backups = {"immich-db-backup-20260101T020000-v3.0.0-pg15.sql.gz": b"old", name: packed}   # type: ignore
    return packed


def _listing(call: Call) -> Reply:
    _admin(call)
    return json_reply({"backups": [{"filename": name, "timezone": "UTC",
                                    "filesize": getattr(call.library, "backup_size", len(data))}
                                   for name, data in getattr(call.library, "backups", {}).items()]})


def _download(call: Call) -> Reply:
    _admin(call)
    data = getattr(call.library, "backups", {}).get(call.id)
    named = {"Content-Disposition": f"inline; filename*=UTF-8''{call.id}"}
    if data is None and call.version[0] < 3:
        reply = unreadable("0000", named)
        reply.kind = "application/gzip; charset=utf-8"
        return reply
    if data is None:
        raise ApiError(404, "Not Found")
    return _sent(data, "application/gzip", named)


def _portrait(call: Call) -> Reply:
    """The picture of a person that the library has, or the photo that shows them, small."""
    if call.id not in call.library.people:
        raise ApiError(400, "Not found or no person.read access")
    shown = next((asset for asset in call.library.assets.values() if asset.owner is call.user
                  and any(face.person and face.person.id == call.id for face in asset.faces)), None)
    made = call.library.thumbnails.get((call.id, 250, "JPEG")) or (
        thumbnail(shown.read() or b"", 250, "JPEG") if shown else None)
    if not made and call.version[0] < 3:
        reply = json_reply({"message": "Not Found", "statusCode": 404, "correlationId": "0000"}, 404)
        reply.headers["Cache-Control"] = "none"
        return reply
    if not made:
        raise ApiError(404, "Not Found")
    return _sent(made, "image/jpeg", {})


def _sent(data: bytes, kind: str, headers: dict[str, str]) -> Reply:
    return Reply(200, data, kind, {**headers, "Cache-Control": "private, no-cache, no-transform",
                                   "Accept-Ranges": "bytes", "ETag": f'W/"{len(data):x}-0"'})


def _admin(call: Call) -> None:
    if not call.user.is_admin:
        raise ApiError(403, "Forbidden")


PATH = "/api/admin/database-backups"
routes.COMPILED += [("GET", re.compile(PATH), "maintenance", _listing),
                    ("GET", re.compile(f"{PATH}/{routes.ID}"), "backup.download", _download),
                    ("GET", re.compile(f"/api/people/{routes.ID}/thumbnail"), "person.read", _portrait)]
