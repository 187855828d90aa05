"""The sync stream: people, faces, and which were deleted, one JSON object a line; sessions only, API keys get 403.

Immich streams more than these, and goes on after what a session acknowledged. Our client reads the whole each time.
"""

from collections.abc import Iterator
from typing import Any

from facesets.fake_immich.library_model import NOW, Asset, Face, Person, iso
from facesets.fake_immich.protocol import STREAMED, ApiError, Call, Reply, not_among
from facesets.fake_immich.replies import dumps, face_box

ENTITIES = {"PeopleV1": "PersonV1", "AssetFacesV1": "AssetFaceV1", "AssetFacesV2": "AssetFaceV2",
            "AssetFacesV3": "AssetFaceV3"}
# What may be asked for, in the order in which the server names it; 2.x does not have the newer ones.
REQUESTS_3 = [
    "AlbumsV1", "AlbumsV2", "AlbumUsersV1", "AlbumToAssetsV1", "AlbumAssetsV1", "AlbumAssetsV2", "AlbumAssetExifsV1",
    "AssetsV1", "AssetsV2", "AssetExifsV1", "AssetEditsV1", "AssetMetadataV1", "AssetOcrV1", "AuthUsersV1",
    "MemoriesV1", "MemoryToAssetsV1", "PartnersV1", "PartnerAssetsV1", "PartnerAssetsV2", "PartnerAssetExifsV1",
    "PartnerStacksV1", "StacksV1", "UsersV1", "PeopleV1", "AssetFacesV1", "AssetFacesV2", "UserMetadataV1"]
NEWER = {"AlbumsV2", "AlbumAssetsV2", "AssetsV2", "AssetOcrV1", "PartnerAssetsV2"}
Row = tuple[int, str, dict[str, Any]]       # change, type, data


def stream(call: Call) -> Reply:
    """POST /sync/stream {"types": [...]}"""
    if not call.session:
        raise ApiError(403, "Sync endpoints cannot be used with API keys")
    known = REQUESTS_3 + ["AssetFacesV3"] * (call.version >= (3, 3, 0))
    if call.version[0] < 3:
        known = [name for name in known if name not in NEWER]
    types = call.body.get("types") if isinstance(call.body, dict) else None
    types = types if isinstance(types, list) else [None]
    for place, name in enumerate(types):
        if name not in known:
            error = not_among(["types", place], known, "each value in types")
            error.kind = f"{STREAMED}; charset=utf-8"
            raise error
    with call.library.lock:
        lines = [_line(*row) for name in types if name in ENTITIES for row in _rows(call, ENTITIES[name])]
        lines.append(_line(call.library.changes, "SyncCompleteV1", {}))
    return Reply(200, "".join(lines).encode(), STREAMED)


def _rows(call: Call, kind: str) -> Iterator[Row]:
    what = kind[:-2]
    for change, gone, identity, owner in call.library.deleted:
        if gone == what and owner == call.user.id:
            yield change, f"{what}DeleteV1", {f"{what[0].lower()}{what[1:]}Id": identity}
    if kind == "PersonV1":
        found = [(person.change, kind, _person(person)) for person in call.library.people.values()
                 if person.owner is call.user]
    else:
        found = [(face.change, kind, _face(asset, face, kind)) for asset in call.library.assets.values()
                 if asset.owner is call.user for face in asset.faces]
    yield from sorted(found, key=lambda row: row[0])


def _person(person: Person) -> dict[str, Any]:
    return {"id": person.id, "createdAt": iso(NOW), "updatedAt": iso(NOW), "ownerId": person.owner.id,
            "name": person.name, "birthDate": f"{person.birth_date}T00:00:00.000Z" if person.birth_date else None,
            "isHidden": person.hidden, "isFavorite": person.favorite, "color": person.color, "faceAssetId": None}


def _face(asset: Asset, face: Face, kind: str) -> dict[str, Any]:
    box = face_box(face)
    fields = {"id": box.pop("id"), "assetId": asset.id, "personId": face.person.id if face.person else None, **box}
    if kind != "AssetFaceV1":
        fields |= {"isVisible": face.visible, "deletedAt": iso(NOW) if face.deleted else None}
    return fields


def _line(change: int, kind: str, data: dict[str, Any]) -> str:
    return dumps({"type": kind, "data": data, "ack": f"{kind}|{change:08x}-0000-7000-8000-{change:012x}"}) + "\n"
