"""The JSON of Immich's replies, key for key in the server's own order, for 2.x and 3.x.

Assets are written straight as text: a page of 1,000 then takes a few milliseconds, so that a benchmark measures the
client and not this server.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

from .library_model import NOW, Asset, Face, Key, Person, User, iso

quote = json.encoder.encode_basestring      # one JSON string
COLORS = ("orange", "yellow", "green", "blue", "pink")
dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode     # one for all: twice as fast


def asset_json(asset: Asset, version: tuple[int, int, int], *, people: bool = False, exif: bool = False,
               ) -> str:
    """One asset as a search replies it, `people` and `exif` as asked for."""
    old, (width, height) = version[0] < 3, _edited_size(asset)
    archived = _flag(asset.visibility == "archive")
    name = quote(asset.name)
    device_asset = f'"deviceAssetId":{quote(f"{asset.name}-{asset.size}")},' if old else ""
    device = '"deviceId":"CLI",' if old else ""
    exif_part = f'"exifInfo":{dumps(exif_fields(asset))},' if exif and asset.exif is not None else ""
    return (
        f'{{"id":"{asset.id}","createdAt":"{iso(asset.created)}",{device_asset}"ownerId":"{asset.owner.id}",'
        f'{device}"libraryId":{_maybe(asset.library)},"type":"{asset.type}",'
        f'"originalPath":{quote(asset.path)},"originalFileName":{name},"originalMimeType":"{asset.mime}",'
        f'"thumbhash":{_thumbhash(asset)},"fileCreatedAt":"{iso(asset.taken)}","fileModifiedAt":"{iso(asset.modified)}",'
        f'"localDateTime":"{iso(asset.local)}","updatedAt":"{iso(asset.updated)}",'
        f'"isFavorite":{_flag(asset.favorite)},"isArchived":{archived},"isTrashed":{_flag(asset.trashed)},'
        f'"visibility":"{asset.visibility}","duration":{_duration(asset, old)},{exif_part}'
        f'"livePhotoVideoId":{_maybe(asset.live_photo)},{_people(asset, old, people)}'
        f'"checksum":"{checksum(asset)}",'
        f'"isOffline":{_flag(asset.offline)},"hasMetadata":true,"duplicateId":null,"resized":true,'
        f'"width":{dumps(width)},"height":{dumps(height)},"isEdited":{_flag(asset.edits)}}}')


def search_page(items: Sequence[str], next_page: int | None, version: tuple[int, int, int]) -> str:
    following = f'"{next_page}"' if next_page else "null"
    following += ',"nextCursor":null' if version >= (3, 2, 0) else ""
    return ('{"albums":{"total":0,"count":0,"items":[],"facets":[]},"assets":'
            f'{{"total":{len(items)},"count":{len(items)},"items":[{",".join(items)}],"facets":[],"nextPage":{following}}}}}')


def seen(faces: Iterable[Face]) -> list[Face]:
    return [face for face in faces if face.visible and not face.deleted]


def face_box(face: Face) -> dict[str, Any]:
    corners = zip(("boundingBoxX1", "boundingBoxY1", "boundingBoxX2", "boundingBoxY2"), face.box, strict=True)
    return {"id": face.id, **dict(corners), "imageWidth": face.width, "imageHeight": face.height,
            "sourceType": face.source}


def person_json(person: Person, zone: str = "Z") -> dict[str, Any]:
    """Immich writes the same `updatedAt` with Z or, below an asset, with +00:00."""
    return {"id": person.id, "name": person.name, "birthDate": person.birth_date,
            "thumbnailPath": f"/data/thumbs/{person.owner.id}/{person.id[:2]}/{person.id[2:4]}/{person.id}.jpeg",
            "isHidden": person.hidden, "isFavorite": person.favorite,
            **({"color": person.color} if person.color else {}), "updatedAt": iso(NOW, zone)}


def user_json(user: User, zone: str = "Z") -> dict[str, Any]:
    color = COLORS[int(user.id[:2], 16) % len(COLORS)]
    return {"id": user.id, "email": user.email, "name": user.name, "profileImagePath": "", "avatarColor": color,
            "profileChangedAt": iso(NOW, zone)}


def own_user_json(user: User, usage: int) -> dict[str, Any]:
    return {**user_json(user), "storageLabel": user.name if user.is_admin else None, "shouldChangePassword": False,
            "isAdmin": user.is_admin, "createdAt": iso(NOW), "deletedAt": None, "updatedAt": iso(NOW), "oauthId": "",
            "quotaSizeInBytes": None, "quotaUsageInBytes": usage, "status": "active", "license": None}


def key_json(key: Key) -> dict[str, Any]:
    return {"id": key.id, "name": key.name, "createdAt": iso(NOW), "updatedAt": iso(NOW),
            "permissions": list(key.permissions)}


def bucket_json(assets: Sequence[Asset], version: tuple[int, int, int]) -> dict[str, list[Any]]:
    """GET /timeline/bucket: columns, not rows."""
    old = version[0] < 3
    columns: dict[str, list[Any]] = {
        "city": [(asset.exif or {}).get("city") for asset in assets],
        "country": [(asset.exif or {}).get("country") for asset in assets],
        "duration": [None if asset.type == "IMAGE" else clock(asset.duration) if old else asset.duration
                     for asset in assets],
        "id": [asset.id for asset in assets],
        "visibility": [asset.visibility for asset in assets],
        "isFavorite": [asset.favorite for asset in assets],
        "isImage": [asset.type == "IMAGE" for asset in assets],
        "isTrashed": [bool(asset.trashed) for asset in assets],
        "livePhotoVideoId": [asset.live_photo for asset in assets],
        "fileCreatedAt": [iso(asset.taken, "", milliseconds=False) for asset in assets],
        "localOffsetHours": [(asset.local - asset.taken) / 3_600_000 for asset in assets],
        "ownerId": [asset.owner.id for asset in assets],
        "projectionType": [None for _ in assets],
        "ratio": [round((width or 1) / (height or 1), 3) for width, height in map(_edited_size, assets)],
        "status": ["trashed" if asset.trashed else "active" for asset in assets],
        "thumbhash": [json.loads(_thumbhash(asset)) for asset in assets],
    }
    if not old:
        columns["createdAt"] = [iso(asset.created, "", milliseconds=False) for asset in assets]
    return columns


def exif_fields(asset: Asset) -> dict[str, Any]:
    """The exif row; a file that Immich has not read yet has only its size."""
    read = asset.width is not None
    stored = asset.stored
    fields: dict[str, Any] = {
        "make": None, "model": None, "exifImageWidth": stored[0], "exifImageHeight": stored[1],
        "fileSizeInByte": asset.size, "orientation": str(asset.orientation) if asset.orientation else None,
        "dateTimeOriginal": iso(asset.taken, "+00:00", milliseconds=False) if read else None,
        "modifyDate": iso(asset.modified, "+00:00", milliseconds=False) if read else None, "timeZone": None,
        "lensModel": None, "fNumber": None, "focalLength": None, "iso": None, "exposureTime": None, "latitude": None,
        "longitude": None, "city": None, "state": None, "country": None, "description": "", "projectionType": None,
        "rating": None}
    return fields | dict(asset.exif or {})


def checksum(asset: Asset) -> str:
    return base64.b64encode(asset.checksum).decode()


def clock(duration: int) -> str:
    seconds, part = divmod(duration, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{part:03}"


def _edited_size(asset: Asset) -> tuple[int | None, int | None]:
    size = (asset.width, asset.height)
    for edit in asset.edits:
        if edit["action"] == "crop":
            size = (edit["parameters"]["width"], edit["parameters"]["height"])
        elif edit["action"] == "rotate" and edit["parameters"]["angle"] % 180:
            size = (size[1], size[0])
    return size


def _people(asset: Asset, old: bool, asked: bool) -> str:
    """2.x: people with their faces and, only when asked for, unassignedFaces; 3.x: people without faces."""
    if not asked or not asset.faces:
        return '"people":[],"unassignedFaces":[],' if asked and old else '"people":[],'
    groups: dict[str, list[Face]] = {}
    for face in seen(asset.faces):
        groups.setdefault(face.person.id if face.person else "", []).append(face)
    loose = groups.pop("", [])
    people = []
    for faces in groups.values():
        assert faces[0].person is not None
        person = person_json(faces[0].person, "+00:00")
        people.append({**person, "faces": [face_box(face) for face in faces]} if old else person)
    unassigned = f'"unassignedFaces":{dumps([face_box(face) for face in loose])},' if old else ""
    return f'"people":{dumps(people)},{unassigned}'


def _duration(asset: Asset, old: bool) -> str:
    if asset.type == "IMAGE":
        return '"0:00:00.00000"' if old else "null"
    return f'"{clock(asset.duration)}"' if old else str(asset.duration)


def _thumbhash(asset: Asset) -> str:
    return f'"{checksum(asset)[:24]}"' if asset.thumbnails and asset.width else "null"


def _flag(value: object) -> str:
    return "true" if value else "false"


def _maybe(value: str | None) -> str:
    return f'"{value}"' if value else "null"
