"""The sync stream: everything that changed since what the session acknowledged, one JSON object a line.

Sessions only; API keys get 403. An ack is "<entity type>|<change as a UUID>"; POST /sync/ack keeps the latest of each
type for the session, and the next stream starts after it.
"""

from collections.abc import Callable, Iterator
from typing import Any

from .library_model import NOW, Asset, Face, Person, iso
from .protocol import ApiError, Call, Reply, json_reply
from .replies import checksum, clock, dumps, exif_fields, face_box
from .routes_account import session_only

REQUESTS = {
    "AlbumsV1": "", "AlbumUsersV1": "", "AlbumToAssetsV1": "", "AlbumAssetsV1": "", "AlbumAssetExifsV1": "",
    "AssetsV1": "AssetV1", "AssetExifsV1": "AssetExifV1", "AssetEditsV1": "", "AssetMetadataV1": "", "AuthUsersV1": "",
    "MemoriesV1": "", "MemoryToAssetsV1": "", "PartnersV1": "", "PartnerAssetsV1": "", "PartnerAssetExifsV1": "",
    "PartnerStacksV1": "", "StacksV1": "", "UsersV1": "", "PeopleV1": "PersonV1", "AssetFacesV1": "AssetFaceV1",
    "AssetFacesV2": "AssetFaceV2", "UserMetadataV1": ""}
REQUESTS_3 = {**REQUESTS, "AssetsV2": "AssetV2"}
DELETED = {"AssetV1": "Asset", "AssetV2": "Asset", "PersonV1": "Person", "AssetFaceV1": "AssetFace",
           "AssetFaceV2": "AssetFace"}


def stream(call: Call) -> Reply:
    """POST /sync/stream {"types": [...], "reset": bool}"""
    session_only(call)
    body = call.body if isinstance(call.body, dict) else {}
    known = REQUESTS if call.version[0] < 3 else REQUESTS_3
    types = body.get("types")
    if not isinstance(types, list) or not set(types) <= set(known):
        raise ApiError(400, [f"each value in types must be one of the following values: {', '.join(known)}"],
                       kind="application/jsonlines+json; charset=utf-8")
    acks = call.server.acks.setdefault(call.session, {})
    if body.get("reset"):
        acks.clear()
    with call.library.lock:
        lines = [line for kind in types if known[kind] for line in _entities(call, known[kind], acks)]
        lines.append(_line("SyncCompleteV1", {}, call.library.changes))
    return Reply(200, "".join(lines).encode(), "application/jsonlines+json")


def acks(call: Call) -> Reply:
    """GET /sync/ack"""
    session_only(call)
    held = call.server.acks.get(call.session, {})
    return json_reply([{"type": kind, "ack": _ack(kind, change)} for kind, change in held.items()])


def set_acks(call: Call) -> Reply:
    """POST /sync/ack {"acks": ["AssetV1|...", ...]}"""
    session_only(call)
    held = call.server.acks.setdefault(call.session, {})
    for text in (call.body or {}).get("acks", []):
        kind, bar, mark = str(text).partition("|")
        try:
            held[kind] = max(held.get(kind, 0), int(mark[:8], 16))
        except ValueError:
            raise ApiError(400, f"Invalid ack: {kind}{bar}") from None
    return Reply(204)


def delete_acks(call: Call) -> Reply:
    """DELETE /sync/ack: the next stream starts from the beginning."""
    session_only(call)
    call.server.acks.pop(call.session, None)
    return Reply(204)


def _entities(call: Call, kind: str, acks: dict[str, int]) -> Iterator[str]:
    gone = DELETED.get(kind)
    if gone:
        name = f"{gone}DeleteV1"
        field = {"Asset": "assetId", "Person": "personId", "AssetFace": "assetFaceId"}[gone]
        for change, what, identity, owner in call.library.deleted:
            if what == gone and owner == call.user.id and change > acks.get(name, 0):
                yield _line(name, {field: identity}, change)
    rows = sorted(_rows(call, kind), key=lambda row: row[0])
    for change, make in rows:
        if change > acks.get(kind, 0):
            yield _line(kind, make(), change)


def _rows(call: Call, kind: str) -> Iterator[tuple[int, Callable[[], dict[str, Any]]]]:
    if kind == "PersonV1":
        for person in call.library.people.values():
            if person.owner is call.user:
                yield person.change, lambda person=person: _person(person)      # type: ignore[misc]
        return
    for asset in call.library.assets.values():
        if asset.owner is not call.user:
            continue
        if kind in ("AssetV1", "AssetV2"):
            yield asset.change, lambda asset=asset: _asset(asset, call.version, kind)   # type: ignore[misc]
        elif kind == "AssetExifV1" and asset.exif is not None:
            yield asset.change, lambda asset=asset: _exif(asset)                # type: ignore[misc]
        elif kind in ("AssetFaceV1", "AssetFaceV2"):
            for face in asset.faces:
                yield face.change, lambda asset=asset, face=face: _face(asset, face, kind)      # type: ignore[misc]


def _person(person: Person) -> dict[str, Any]:
    return {"id": person.id, "createdAt": iso(NOW), "updatedAt": iso(NOW), "ownerId": person.owner.id,
            "name": person.name, "birthDate": f"{person.birth_date}T00:00:00.000Z" if person.birth_date else None,
            "isHidden": person.hidden, "isFavorite": person.favorite, "color": person.color, "faceAssetId": None}


def _asset(asset: Asset, version: tuple[int, int, int], kind: str) -> dict[str, Any]:
    duration: str | int | None = None
    if asset.type == "VIDEO":
        duration = asset.duration if kind == "AssetV2" else clock(asset.duration)
    newer = {"createdAt": iso(asset.created)} if version[0] >= 3 else {}
    return {"id": asset.id, "ownerId": asset.owner.id, "originalFileName": asset.name, **newer,
            "fileCreatedAt": iso(asset.taken), "fileModifiedAt": iso(asset.modified), "localDateTime": iso(asset.local),
            "type": asset.type, "deletedAt": iso(asset.trashed) if asset.trashed else None,
            "isFavorite": asset.favorite, "visibility": asset.visibility, "duration": duration,
            "livePhotoVideoId": asset.live_photo, "stackId": asset.stack[0] if asset.stack else None,
            "libraryId": asset.library, "width": asset.width, "height": asset.height, "isEdited": bool(asset.edits),
            "checksum": checksum(asset), "thumbhash": None}


def _exif(asset: Asset) -> dict[str, Any]:
    fields = exif_fields(asset) | {"profileDescription": None, "fps": None}
    for name in ("dateTimeOriginal", "modifyDate"):
        fields[name] = fields[name] and fields[name].replace("+00:00", ".000Z")
    return {"assetId": asset.id, **fields}


def _face(asset: Asset, face: Face, kind: str) -> dict[str, Any]:
    box = face_box(face)
    fields = {"id": box.pop("id"), "assetId": asset.id, "personId": face.person.id if face.person else None, **box}
    if kind == "AssetFaceV2":
        fields |= {"isVisible": face.visible, "deletedAt": iso(NOW) if face.deleted else None}
    return fields


def _line(kind: str, data: dict[str, Any], change: int) -> str:
    return dumps({"type": kind, "data": data, "ack": _ack(kind, change)}) + "\n"


def _ack(kind: str, change: int) -> str:
    return f"{kind}|{change:08x}-0000-7000-8000-{change:012x}"
