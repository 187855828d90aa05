"""Routes for people and albums: all that a client of ours may change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from facesets.fake_immich.library_model import NOW, Asset, Person, User, iso
from facesets.fake_immich.protocol import ApiError, Call, Fields, Reply, json_reply, text_reply, uuid_of
from facesets.fake_immich.replies import asset_json, dumps, person_json, user_json


@dataclass(eq=False)
class Album:
    id: str
    owner: User
    name: str
    description: str = ""
    assets: dict[str, Asset] = field(default_factory=dict)      # by id, in the order in which they came


Own = TypeVar("Own", Album, Person)


def person(call: Call) -> Reply:
    return json_reply(person_json(_mine(call, call.library.people, "person.read")))


def rename(call: Call) -> Reply:
    """PUT /people/{id}: of what may be changed there, the name."""
    found = _mine(call, call.library.people, "person.update")
    found.name = Fields(call.body, call.version).values.get("name", found.name)
    found.change = call.library.changed()
    return json_reply(person_json(found))


def albums(call: Call) -> Reply:
    mine = [album_json(album, call.version, full=False) for album in call.library.albums.values()
            if album.owner is call.user]
    return text_reply(f"[{','.join(mine)}]")


def make_album(call: Call) -> Reply:
    """POST /albums; assets that are not the user's are left out without a word."""
    fields = Fields(call.body, call.version)
    made = Album(call.library.new_id("album"), call.user, fields.text("albumName", ["albumName must be a string"]),
                 fields.get("description", ""))
    _add(call, made, fields.get("assetIds", []))
    call.library.albums[made.id] = made
    return text_reply(album_json(made, call.version, full=True), 201)


def delete_album(call: Call) -> Reply:
    del call.library.albums[_mine(call, call.library.albums, "album.delete").id]
    return Reply(204, kind="")


def add(call: Call) -> Reply:
    """PUT /albums/{id}/assets"""
    found = _mine(call, call.library.albums, "albumAsset.create")
    return json_reply(_add(call, found, Fields(call.body, call.version).get("ids", [])))


def remove(call: Call) -> Reply:
    """DELETE /albums/{id}/assets"""
    found = _mine(call, call.library.albums, "albumAsset.delete")
    return json_reply([{"id": one, "success": True} if found.assets.pop(one, None) else
                       {"id": one, "success": False, "error": "not_found"}
                       for one in Fields(call.body, call.version).get("ids", [])])


def _add(call: Call, album: Album, ids: list[str]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    for one in ids:
        asset = call.library.assets.get(one)
        mine = asset is not None and asset.owner is call.user
        wrong = "duplicate" if one in album.assets else "" if mine else "no_permission"
        if asset and not wrong:
            album.assets[one] = asset
        said.append({"id": one, "success": not wrong, **({"error": wrong} if wrong else {})})
    return said


def _mine(call: Call, there: Mapping[str, Own], permission: str) -> Own:
    found = there.get(uuid_of(call.id))
    if found is None or found.owner is not call.user:
        raise ApiError(400, f"Not found or no {permission} access")
    return found


def album_json(album: Album, version: tuple[int, int, int], full: bool) -> str:
    """One album; `full` as 2.x replies it, with its assets, of which 3.x only gives the number."""
    moments, user = sorted(asset.taken for asset in album.assets.values()), user_json(album.owner, "+00:00")
    old = version[0] < 3
    head = {"albumName": album.name, "description": album.description,
            "albumThumbnailAssetId": next(iter(album.assets), None), "createdAt": iso(NOW), "updatedAt": iso(NOW),
            "id": album.id, **({"ownerId": album.owner.id, "owner": user, "albumUsers": []} if old else
                               {"albumUsers": [{"user": user, "role": "owner"}]}),
            "shared": False, "hasSharedLink": False,
            **({"startDate": iso(moments[0]), "endDate": iso(moments[-1])} if moments else {})}
    items = ",".join(asset_json(asset, version, exif=True) for asset in album.assets.values()) if full else ""
    tail = {"assetCount": len(album.assets), "isActivityEnabled": True, "order": "desc"}
    return dumps(head)[:-1] + (f',"assets":[{items}],' if old else ",") + dumps(tail)[1:]
