"""The sync stream: all there is and what was deleted, one JSON object a line; sessions only, API keys get 403.

Immich goes on after what a session acknowledged. Our client never does: it reads the whole stream each time.
"""

from collections.abc import Callable, Iterator
from typing import Any

from .library_model import NOW, Asset, Face, Person, iso
from .protocol import ApiError, Call, Reply
from .replies import checksum, clock, dumps, exif_fields, face_box
from .validation import not_among

STREAMED = "application/jsonlines+json"     # sent without ETag
REQUESTS = {
    "AlbumsV1": "", "AlbumUsersV1": "", "AlbumToAssetsV1": "", "AlbumAssetsV1": "", "AlbumAssetExifsV1": "",
    "AssetsV1": "AssetV1", "AssetExifsV1": "AssetExifV1", "AssetEditsV1": "", "AssetMetadataV1": "", "AuthUsersV1": "",
    "MemoriesV1": "", "MemoryToAssetsV1": "", "PartnersV1": "", "PartnerAssetsV1": "", "PartnerAssetExifsV1": "",
    "PartnerStacksV1": "", "StacksV1": "", "UsersV1": "", "PeopleV1": "PersonV1", "AssetFacesV1": "AssetFaceV1",
    "AssetFacesV2": "AssetFaceV2", "UserMetadataV1": ""}
REQUESTS_3 = {**dict.fromkeys((
    "AlbumsV1", "AlbumsV2", "AlbumUsersV1", "AlbumToAssetsV1", "AlbumAssetsV1", "AlbumAssetsV2", "AlbumAssetExifsV1",
    "AssetsV1", "AssetsV2", "AssetExifsV1", "AssetEditsV1", "AssetMetadataV1", "AssetOcrV1", "AuthUsersV1",
    "MemoriesV1", "MemoryToAssetsV1", "PartnersV1", "PartnerAssetsV1", "PartnerAssetsV2"), ""), **REQUESTS,
    "AssetsV2": "AssetV2"}
REQUESTS_3_3 = {**REQUESTS_3, "AssetFacesV3": "AssetFaceV3"}


def stream(call: Call) -> Reply:
    """POST /sync/stream {"types": [...]}"""
    if not call.session:
        raise ApiError(403, "Sync endpoints cannot be used with API keys")
    known = REQUESTS if call.version[0] < 3 else REQUESTS_3 if call.version < (3, 3, 0) else REQUESTS_3_3
    types = call.body.get("types") if isinstance(call.body, dict) else None
    types = types if isinstance(types, list) else [None]
    for place, name in enumerate(types):
        if name not in known:
            error = not_among(["types", place], list(known), "each value in types")
            error.kind = f"{STREAMED}; charset=utf-8"
            raise error
    with call.library.lock:
        lines = [line for kind in types if known[kind] for line in _entities(call, known[kind])]
        lines.append(_line("SyncCompleteV1", {}, call.library.changes))
    return Reply(200, "".join(lines).encode(), STREAMED)


def _entities(call: Call, kind: str) -> Iterator[str]:
    gone = kind[:-2]
    for change, what, identity, owner in call.library.deleted:
        if what == gone and owner == call.user.id:
            yield _line(f"{gone}DeleteV1", {f"{gone[0].lower()}{gone[1:]}Id": identity}, change)
    for change, make in sorted(_rows(call, kind), key=lambda row: row[0]):
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
        elif kind.startswith("AssetFace"):
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
    if kind != "AssetFaceV1":
        fields |= {"isVisible": face.visible, "deletedAt": iso(NOW) if face.deleted else None}
    return fields


def _line(kind: str, data: dict[str, Any], change: int) -> str:
    return dumps({"type": kind, "data": data, "ack": f"{kind}|{change:08x}-0000-7000-8000-{change:012x}"}) + "\n"
