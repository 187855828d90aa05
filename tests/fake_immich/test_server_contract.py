"""The local server against what a real Immich v2.7.2 replied: every recorded request that our client may ever make.

The server gets the recorded state (users, keys, people, assets, faces with their recorded ids), the requests are sent
as recorded, and status, headers and bodies are compared: errors word for word, everything else key for key and type for
type, and which assets a search returns.
"""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from busy import LIMIT
from immich_lab import backups  # noqa: F401 - the routes that a backup needs
from immich_lab.routes_people import Album
from immich_lab.server import LabServer
from test_stage_contract import SENT

from facesets.common.errors import Failure
from facesets.fake_immich.library_model import Asset, Face, Key, Person, User, milliseconds
from facesets.immich import allowed

ADMIN, USER2 = "ea61aa0f-ddc5-43d2-ac48-58dc3a061d0a", "b8edfe2b-5fe7-40f4-91d1-9f645fa367b4"
# Recordings that are not replayed, by why; `still_left_out` holds each to its reason.
SUMMARY = {48: "a summary of page walks; test_server_behaviour has them"}
REFUSED = {     # by our client itself, whoever asks it to send this
    (91, 93): "the total of a search, smart search",
    (118, 119, *range(194, 202), 230, 239, 242, 246, 251): "faces, uploads, edits and partners are made elsewhere",
    (148,): "a download by HEAD",
    (214, 215, 216): "archives",
    (217,): "an album that is shared, with photos in it from the first",
}
NO_ROUTE = {    # of the local server, so that any test would fail whose client asked
    (3, 4, 5, *range(6, 11), 13): "features, settings, media types, about and statistics of the server",
    (94,): "a person by name",
    (120, 121, 122, 126): "lists of people, and how many assets show one",
    (*range(128, 147), 203, 208, 221, 232, 241, 249): "GET /assets/{id}: a search for its id tells the same",
    (220,): "one album: the list of all tells whether it is there",
    (229,): "what a session has acknowledged of the sync stream: we read the whole of it",
}
OTHERWISE = {   # the local server answers, and otherwise
    (53, 54, 55, *range(60, 65), 71, 72, 78, 79, 219, 250): "search by name, city, checksum, people, trash, album",
    (155, 156): "a download under a condition: we ask for ranges only",
    (222, 223): "faces and file of what another user's album shares: no search of ours lists it (218)",
    (228,): "assets in the sync stream: the search lists them",
    (236, 238): "the edited picture itself: we take the original",
}
LEFT_OUT = [*SUMMARY, *(number for why in (REFUSED, NO_ROUTE, OTHERWISE) for group in why for number in group)]
# recordings -> the state they were made in, where it is not that of the beginning
EDITED, PARTNER, IN_TIMELINE = range(231, 239), range(243, 246), range(247, 251)
FRESH, FRESH_LATER, MISSING, EMPTY = range(202, 207), range(207, 208), range(174, 175), range(175, 176)
SHARED = range(218, 225)
EXACT = ("Content-Type", "Content-Range", "Accept-Ranges", "Content-Disposition", "Cache-Control", "Location",
         "Content-Encoding", "Transfer-Encoding")
EDITS = ({"action": "crop", "parameters": {"x": 100, "y": 20, "width": 900, "height": 500}},
         {"action": "rotate", "parameters": {"angle": 90}})


def numbers() -> list[int]:
    return [number for number in range(1, 252) if number not in LEFT_OUT]


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[int, dict[str, Any]]:
    folder = shared / "immich" / "recorded-2.7.2"
    return {int(path.name[:3]): json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(folder.glob("[0-9]*.json"))}


@pytest.fixture(scope="module")
def mirror(recorded: dict[int, dict[str, Any]]) -> Any:
    with LabServer() as server:
        populate(server, recorded)
        yield server


def populate(server: LabServer, recorded: dict[int, dict[str, Any]]) -> None:
    """Users, keys and a session, then every asset that any recorded reply describes, the fullest description first."""
    library = server.library
    for identity, number in ((ADMIN, 14), (USER2, 15)):
        me = recorded[number]["response"]["json"]
        library.users[identity] = User(identity, me["name"], me["email"], "password", me["isAdmin"])
    for name, user, permissions in (("admin_all", ADMIN, "all"), ("user2_all", USER2, "all"),
                                    ("admin_asset_read", ADMIN, "asset.read"),
                                    ("admin_download", ADMIN, "asset.download")):
        library.keys[name] = Key(library.new_id(), name, name, library.users[user], (permissions,))
    server.library.sessions["session"] = library.users[ADMIN]
    for people in (121, 122):
        for row in recorded[people]["response"]["json"]["people"]:
            owner = library.users[ADMIN if people == 121 else USER2]
            library.people[row["id"]] = Person(row["id"], owner, row["name"], row["isHidden"], row["isFavorite"],
                                               row["birthDate"], row.get("color"), library.changed())
    for number in (247, 32, 52, 70, 71, 66, 72, 141, 140, *range(128, 140)):
        reply = recorded[number]["response"]["json"]
        for row in reply["assets"]["items"] if "assets" in reply else [reply]:
            later = row["id"] == recorded[196]["response"]["json"]["id"]       # uploaded between the recordings
            if not later and (row["id"] not in library.assets or number in (140, 141)):
                library.assets[row["id"]] = mirrored(server, row)
    hide_and_delete(server, recorded)
    for number in (*range(176, 193), 237):
        binary = recorded[number]["response"].get("binary")
        found = re.search(r"assets/([0-9a-f-]{36})", recorded[number]["request"]["url"])
        if binary and found and recorded[number]["response"]["status"] == 200:
            small = "webp" in dict(recorded[number]["response"]["headers"])["Content-Type"]
            side, kind = (250, "WEBP") if small else (1440, "JPEG")
            server.library.thumbnails[found[1], side, kind] = bytes(binary["length"])
    for number in (127, 193):
        person = re.findall(r"people/([0-9a-f-]{36})", recorded[number]["request"]["url"])[0]
        library.thumbnails[person, 250, "JPEG"] = bytes(recorded[number]["response"]["binary"]["length"])
    for asset in library.assets.values():       # the other thumbnails: never asked for whole
        server.library.thumbnails.setdefault((asset.id, 1440, "JPEG"), bytes(1000))
        server.library.thumbnails.setdefault((asset.id, 250, "JPEG"), bytes(1000))


def mirrored(server: LabServer, row: dict[str, Any]) -> Asset:
    """The asset that one recorded row describes; its file is as long as the recorded one."""
    exif = row.get("exifInfo") or {}
    size = exif.get("fileSizeInByte") or int(row["deviceAssetId"].rpartition("-")[2])
    asset = Asset(row["id"], server.library.users[row["ownerId"]], row["originalFileName"], row["originalPath"],
                  milliseconds(row["fileCreatedAt"]), base64.b64decode(row["checksum"]), bytes(size), size,
                  row["width"], row["height"], milliseconds(row["localDateTime"]),
                  modified=milliseconds(row["fileModifiedAt"]), type=row["type"], visibility=row["visibility"],
                  favorite=row["isFavorite"], trashed=milliseconds("2026-01-01") if row["isTrashed"] else 0,
                  duration=2000 if row["type"] == "VIDEO" else 0, exif=exif or {}, change=server.library.changed())
    asset.thumbnails = row["thumbhash"] is not None
    asset.orientation = int(exif["orientation"]) if exif.get("orientation") else None
    for person in row["people"]:
        asset.faces += [mirrored_face(face, server.library.people[person["id"]]) for face in person["faces"]]
    asset.faces += [mirrored_face(face, None) for face in row.get("unassignedFaces", [])]
    return asset


def mirrored_face(row: dict[str, Any], person: Person | None) -> Face:
    box = (row["boundingBoxX1"], row["boundingBoxY1"], row["boundingBoxX2"], row["boundingBoxY2"])
    return Face(row["id"], box, row["imageWidth"], row["imageHeight"], person, row["sourceType"], change=1)


def hide_and_delete(server: LabServer, recorded: dict[int, dict[str, Any]]) -> None:
    """Faces and assets that only the sync stream shows: invisible, deleted, locked."""
    for line in recorded[228]["response"]["jsonlines"]:
        row = line["data"]
        if line["type"] == "AssetV1" and row["id"] not in server.library.assets:
            server.library.assets[row["id"]] = Asset(
                row["id"], server.library.users[ADMIN], row["originalFileName"], "/data/x", 0, b"", b"x", 1, 1, 1,
                visibility=row["visibility"], change=1)
    for line in recorded[226]["response"]["jsonlines"]:
        row = line["data"]
        if line["type"] == "AssetFaceV2" and (not row["isVisible"] or row["deletedAt"]):
            face = mirrored_face(row, None)
            face.visible, face.deleted = row["isVisible"], bool(row["deletedAt"])
            server.library.assets[row["assetId"]].faces.append(face)
    server.library.deleted.append((1, "Person", "55448bde-7fd4-4c2b-8b38-abce456a7902", ADMIN))


@pytest.fixture
def state(mirror: LabServer, recorded: dict[int, dict[str, Any]], request: pytest.FixtureRequest) -> Any:
    """The state that recording `request.param` was made in, undone afterwards."""
    number = request.param
    library, admin = mirror.library, mirror.library.users[ADMIN]
    burst = library.assets["9d743157-6641-4fc1-9048-52caf091fc76"]
    pair = library.assets["8da1af47-8c4a-4964-bb06-739938b08278"]
    kept = (burst.content, burst.modified, dict(admin.partners))
    if number in EDITED:
        pair.edits = EDITS
    if number in PARTNER or number in IN_TIMELINE:
        admin.partners[USER2] = number in IN_TIMELINE
    if number in (247,):        # made after user2 had uploaded one more, which recording 201 shows
        one_more = mirrored(mirror, extra(recorded))
        library.assets[one_more.id] = one_more
    if number in SHARED:
        identity = recorded[217]["response"]["json"]["id"]
        library.albums[identity] = Album(identity, library.users[USER2], "Shared")
    if number in MISSING:
        burst.content = None
    if number in EMPTY:
        etag = dict(recorded[175]["response"]["headers"])["ETag"]
        burst.content, burst.modified = b"", int(etag.strip('W/"').partition("-")[2], 16)
    if number in FRESH or number in FRESH_LATER:
        row = recorded[202 if number == 202 else 207]["response"]["json"]["assets"]["items"][0]
        fresh = mirrored(mirror, row)
        library.assets[fresh.id] = fresh
        fresh.thumbnails = number not in FRESH
    library.changed()
    yield number
    burst.content, burst.modified, admin.partners = kept
    pair.edits = ()
    library.albums.clear()
    for upload in (196, 201):
        library.assets.pop(recorded[upload]["response"]["json"]["id"], None)
    library.changed()


def extra(recorded: dict[int, dict[str, Any]]) -> dict[str, Any]:
    items = recorded[247]["response"]["json"]["assets"]["items"]
    return next(row for row in items if row["id"] == recorded[196]["response"]["json"]["id"])


@pytest.mark.parametrize("state", numbers(), indirect=True)
def test_the_server_replies_as_recorded(state: int, mirror: LabServer, recorded: dict[int, dict[str, Any]]) -> None:
    replay(mirror, recorded[state])


@pytest.mark.parametrize("state", [number for number in LEFT_OUT if number not in SUMMARY], indirect=True)
def test_what_is_left_out_is_so_for_a_reason_that_holds(state: int, mirror: LabServer,
                                                        recorded: dict[int, dict[str, Any]]) -> None:
    kind = next(kind for kind in (REFUSED, NO_ROUTE, OTHERWISE) if any(state in group for group in kind))
    still_left_out(kind is REFUSED, kind is NO_ROUTE, mirror, recorded[state], replay)


def still_left_out(refused: bool, no_route: bool, server: LabServer, recording: dict[str, Any],
                   replay: Callable[[LabServer, dict[str, Any]], None]) -> None:
    request = recording["request"]
    try:
        allowed.refuse(request["method"], request["url"], request.get("json"), may_write=True)
    except Failure:
        assert refused
        return
    assert not refused, "our client would send it by now"
    if no_route:
        assert f"Cannot {request['method']} /api/" in send(server, request).text
        return
    if "/search/" in request["url"]:
        assert not set(request["json"]) <= SENT, "our client asks this by now"
    with pytest.raises(AssertionError):
        replay(server, recording)


def replay(server: LabServer, recording: dict[str, Any]) -> None:
    ours, theirs = send(server, recording["request"]), recording["response"]
    assert ours.status_code == theirs["status"]
    compare_headers(ours, theirs)
    if "binary" in theirs:
        if theirs["status"] < 500:
            assert len(ours.content) == theirs["binary"]["length"]
    elif theirs.get("jsonlines"):
        compare_lines([json.loads(line) for line in ours.text.splitlines()], theirs["jsonlines"])
    elif theirs.get("json") is not None:
        compare_json(ours.json(), theirs["json"], ours.status_code)
    else:
        assert ours.text == theirs.get("body_text", "")


def send(server: LabServer, request: dict[str, Any]) -> requests.Response:
    headers = {name: re.sub(r"<session token \w+>", "session", re.sub(r"<key (\w+)>", r"\1", value))
               for name, value in request["headers"]}
    url = re.sub(r"<key (\w+)>", r"\1", re.sub(r"^http://[^/]+", server.url, request["url"]))
    broken = request.get("json") is None and "content-type" in map(str.lower, headers)     # recording 86
    return requests.request(request["method"], url, headers=headers, allow_redirects=False, timeout=LIMIT,
                            data=b'{"size": ' if broken else None, json=request.get("json"))


def compare_headers(ours: requests.Response, theirs: dict[str, Any]) -> None:
    wanted = dict(theirs["headers"])
    near_the_edge = len(ours.content) <= 1400      # compressed from 1 KB on; our names are a little longer or shorter
    names = [name for name in EXACT if "Encoding" not in name or not near_the_edge]
    if wanted.get("ETag", "").startswith("W/") and "original" in ours.request.path_url:
        names += ["ETag", "Last-Modified", "Content-Length"]
    assert {name: ours.headers.get(name) for name in names} == {name: wanted.get(name) for name in names}
    for mark in ("x-immich-cid", "X-Correlation-ID"):
        assert (mark in ours.headers) == (mark in wanted)
    assert ours.headers.get("ETag", "-")[0] == wanted.get("ETag", "-")[0]       # weak, strong or none


def compare_json(ours: Any, theirs: Any, status: int) -> None:
    if status >= 400:
        assert {**ours, "correlationId": ""} == {**theirs, "correlationId": ""}
        return
    assert shape(chosen(ours)) == shape(chosen(theirs))
    if isinstance(theirs, dict) and isinstance(theirs.get("assets"), dict):
        mine, yours = ours["assets"], theirs["assets"]
        assert {name: mine[name] for name in ("total", "count", "nextPage")} == \
            {name: yours[name] for name in ("total", "count", "nextPage")}
        if yours["nextPage"] is None:
            assert {row["id"] for row in mine["items"]} == {row["id"] for row in yours["items"]}
        compare_rows({row["id"]: row for row in mine["items"]}, {row["id"]: row for row in yours["items"]})


def chosen(reply: Any) -> Any:
    """`reply`; of assets at random, or of a page that is not the last, only what does not depend on which they are."""
    if isinstance(reply, list) and reply and "checksum" in reply[0]:
        return [dict.fromkeys(row, 0) for row in reply]
    if not isinstance(reply, dict) or not isinstance(reply.get("assets"), dict) or not reply["assets"]["nextPage"]:
        return reply
    keys = [dict.fromkeys(row, 0) for row in reply["assets"]["items"]]
    return {**reply, "assets": {**reply["assets"], "items": keys}}


def compare_rows(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """What the pipeline reads of an asset is the same value, not only the same type."""
    for identity in set(ours) & set(theirs):
        for name in ("ownerId", "type", "fileCreatedAt", "localDateTime", "visibility", "checksum", "width", "height",
                     "originalFileName", "originalPath", "originalMimeType", "isTrashed", "isEdited",
                     "unassignedFaces"):
            assert ours[identity].get(name) == theirs[identity].get(name), (identity, name)
        mine, yours = ours[identity]["people"], theirs[identity]["people"]
        assert [(person["id"], person["name"]) for person in mine] == [(one["id"], one["name"]) for one in yours]
        assert [face for person in mine for face in person.get("faces", ())] == \
            [face for person in yours for face in person.get("faces", ())]


def compare_lines(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    if "statusCode" in theirs[0]:
        compare_json(ours[0], theirs[0], theirs[0]["statusCode"])
        return
    by_type = [{line["type"]: shape(line["data"], loose=True) for line in lines} for lines in (ours, theirs)]
    assert by_type[0] == by_type[1]
    for kind in ("AssetFaceV2", "PersonV1"):    # the same faces and people, each once
        assert sorted(line["data"]["id"] for line in ours if line["type"] == kind) == \
            sorted(line["data"]["id"] for line in theirs if line["type"] == kind)


def shape(value: Any, loose: bool = False) -> Any:
    """Keys and types, recursively; a list has the shapes of its items. loose: any value of a row may be null."""
    if isinstance(value, dict):
        return {name: shape(item) if not loose else "" for name, item in value.items() if name != "updateId"}
    if isinstance(value, list):
        return sorted({json.dumps(shape(item), sort_keys=True) for item in value})
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | float) else type(value).__name__


def test_every_recording_is_replayed_or_left_out_once(recorded: dict[int, dict[str, Any]]) -> None:
    assert sorted([*numbers(), *LEFT_OUT]) == sorted(recorded)
