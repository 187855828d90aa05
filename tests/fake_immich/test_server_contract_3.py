"""The local server as 3.1 against what a real Immich v3.1.0 replied: every recorded request that our client may make;
and as 2.7 against what was recorded of the same database before it was migrated.

What differs on purpose: counts of the whole library, of which the recordings show a part; the patterns in issues.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from immich_lab import backups  # noqa: F401 - the routes that a backup needs
from immich_lab.routes_people import Album
from immich_lab.server import LabServer
from test_server_contract import compare_headers, compare_rows, mirrored_face, send, shape, still_left_out

from facesets.fake_immich.library_model import Asset, Face, Key, Person, User, milliseconds

# Recordings of 3.1.0 that are not replayed, by why (see test_server_contract), and those of recorded-2.7.2-more.
REFUSED = {
    (29, 30): "the total of a search", (50,): "a download by HEAD", (85,): "many people changed at once",
    (86, 87, 88, 89): "people made, deleted, given other faces", (95, 97): "an asset's metadata, changed",
    (100,): "a backup made now",
}
NO_ROUTE = {
    (3,): "features of the server", (45, 46, 47, 48): "GET /assets/{id}: a search for its id tells the same",
    (69, 79, 81): "lists of people, and how many assets show one", (94, 96): "an asset's metadata",
    (68, 77): "acks of the stream: we read it whole",
}
REFUSED_2 = {(86,): "many people changed at once", (87, 88, 89, 90): "people made, deleted, given other faces",
             (96, 98): "an asset's metadata, changed", (101,): "a backup made now"}
NO_ROUTE_2 = {(80, 82): "lists of people, and how many assets show one",
              (95, 97): "an asset's metadata", (78,): "acks of the stream: we read it whole"}
NONE_YET = (99, 100)    # recordings of a server that has no backup


def each(*whys: dict[tuple[int, ...], str]) -> list[int]:
    return [number for why in whys for group in why for number in group]


REPLAYED = [number for number in range(1, 104) if number not in each(REFUSED, NO_ROUTE)]
REPLAYED_2 = [number for number in range(72, 105) if number not in each(REFUSED_2, NO_ROUTE_2)]
KEYS = {"peter": ("asset.read", "asset.download", "asset.view", "user.read", "face.read"), "peter_all": ("all",),
        "peter_only_read": ("asset.read",)}


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[int, dict[str, Any]]:
    return read(shared / "immich" / "recorded-3.1.0")


def read(folder: Path) -> dict[int, dict[str, Any]]:
    return {int(path.name[:3]): json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(folder.glob("[0-9]*.json"))}


@pytest.fixture(scope="module")
def mirror(recorded: dict[int, dict[str, Any]]) -> Any:
    with LabServer((3, 1, 0)) as server:
        populate(server, recorded)
        yield server


def populate(server: LabServer, recorded: dict[int, dict[str, Any]]) -> None:
    """Peter with his keys, his partner, and every asset that a recorded reply describes; months by their count."""
    library, me = server.library, recorded[7]["response"]["json"]
    peter = User(me["id"], me["name"], me["email"], "password", me["isAdmin"])
    partner = User(recorded[9]["response"]["json"]["assets"]["items"][0]["ownerId"], "Admin", "admin@example.test", "x",
                   True)
    stranger = User(library.new_id("user"), "Olga", "olga@example.test", "x")
    library.users |= {user.id: user for user in (peter, partner, stranger)}
    peter.partners[partner.id] = True
    library.keys |= {name: Key(library.new_id(), name, name, peter, permissions) for name, permissions in KEYS.items()}
    library.keys["admin_all"] = Key(library.new_id(), "admin_all", "admin_all", partner, ("all",))
    library.sessions["session"] = peter
    for row in (*recorded[69]["response"]["json"]["people"], *named(recorded)):
        library.people.setdefault(row["id"], Person(row["id"], peter, row["name"], row["isHidden"]))
    for number in (45, 10, 9, 14, 26, 28):
        reply = recorded[number]["response"]["json"]
        rows = reply["assets"]["items"] if "assets" in reply else reply if isinstance(reply, list) else [reply]
        for row in rows:
            library.assets.setdefault(row["id"], mirrored(server, row, exif=number != 14))
    own = library.assets[recorded[45]["response"]["json"]["id"]]
    own.faces = [mirrored_face(face, library.people[face["person"]["id"]])
                 for face in recorded[39]["response"]["json"]]
    foreign = recorded[46]["request"]["url"].rpartition("/")[2]
    library.assets[foreign] = Asset(foreign, stranger, "x.jpg", "/data/x", 0, b"", b"x", 1, 1, 1)
    missing = re.findall(r"assets/([0-9a-f-]{36})", recorded[78]["request"]["url"])[0]
    library.assets[missing] = Asset(missing, peter, "IMG_0106.jpg", "/data/y", 0, b"", None, 1, 1, 1)
    server.add_asset(peter, None, type="VIDEO", checksum=b"v", size=1, duration=1000, width=1, height=1)
    server.add_asset(peter, None, taken="2014-05-05T00:00:00", checksum=b"m", size=1, width=1, height=1)
    server.add_asset(peter, None, visibility="archive", checksum=b"a", size=1, width=1, height=1)
    library.thumbnails[own.id, 1440, "JPEG"] = bytes(recorded[61]["response"]["binary"]["length"])
    album = Album(re.findall(r"albums/([0-9a-f-]{36})", recorded[92]["request"]["url"])[0], peter, "faceset_001")
    has, foreign, _ = recorded[92]["request"]["json"]["ids"]
    for asset_id, owner in ((has, peter), (foreign, stranger)):
        library.assets.setdefault(asset_id, Asset(asset_id, owner, "x.jpg", "/data/x", 0, b"", b"x", 1, 1, 1))
    album.assets[has] = library.assets[has]
    library.albums[album.id] = album
    library.changed()


def named(recorded: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """People whom only assets show."""
    items = [item for number in (9, 26) for item in recorded[number]["response"]["json"]["assets"]["items"]]
    return [person for item in items + recorded[28]["response"]["json"] for person in item["people"]]


def mirrored(server: LabServer, row: dict[str, Any], exif: bool) -> Asset:
    """The asset that one recorded row describes, its file as long as the recorded one."""
    told = row.get("exifInfo") or {}
    size = told.get("fileSizeInByte", 1)
    asset = Asset(row["id"], server.library.users[row["ownerId"]], row["originalFileName"], row["originalPath"],
                  milliseconds(row["fileCreatedAt"]), base64.b64decode(row["checksum"]), bytes(size), size,
                  row["width"], row["height"], milliseconds(row["localDateTime"]),
                  modified=milliseconds(row["fileModifiedAt"]), visibility=row["visibility"],
                  exif=told if exif else None)
    asset.orientation = int(told["orientation"]) if told.get("orientation") else None
    asset.faces = [Face(server.library.new_id("face"), (1, 1, 2, 2), 10, 10, server.library.people[person["id"]])
                   for person in row["people"]]
    return asset


def back_up(server: LabServer, number: int, listing: dict[str, Any]) -> None:
    """The backups that it had when recording `number` was made."""
    made = {} if number in NONE_YET else {
        one["filename"]: bytes(one["filesize"]) for one in listing["response"]["json"]["backups"]}
    server.library.backups = made       # type: ignore[attr-defined]


@pytest.mark.parametrize("number", REPLAYED)
def test_the_server_replies_as_recorded(number: int, mirror: LabServer, recorded: dict[int, dict[str, Any]]) -> None:
    albums = dict(mirror.library.albums)
    back_up(mirror, number, recorded[101])
    replay(mirror, recorded[number])
    mirror.library.albums = albums


@pytest.mark.parametrize("number", each(REFUSED, NO_ROUTE))
def test_what_is_left_out_is_so_for_a_reason_that_holds(number: int, mirror: LabServer,
                                                        recorded: dict[int, dict[str, Any]]) -> None:
    still_left_out(number in each(REFUSED), number in each(NO_ROUTE), mirror, recorded[number], replay)


@pytest.fixture(scope="module")
def recorded_2(shared: Path) -> dict[int, dict[str, Any]]:
    return read(shared / "immich" / "recorded-2.7.2-more")


@pytest.fixture
def mirror_2(recorded: dict[int, dict[str, Any]]) -> Any:
    with LabServer() as server:
        populate(server, recorded)
        peter = server.library.sessions["session"]
        server.library.deleted.append((1, "AssetFace", server.library.new_id(), peter.id))
        yield server


@pytest.mark.parametrize("number", REPLAYED_2)
def test_as_2_7_it_replies_as_recorded_of_the_same_database(number: int, mirror_2: LabServer,
                                                            recorded_2: dict[int, dict[str, Any]]) -> None:
    for album in list(mirror_2.library.albums.values()):      # as of that server
        if found := re.search(r"albums/([0-9a-f-]{36})", recorded_2[number]["request"]["url"]):
            mirror_2.library.albums[found[1]] = album
    back_up(mirror_2, number, recorded_2[102])
    replay(mirror_2, recorded_2[number])


@pytest.mark.parametrize("number", each(REFUSED_2, NO_ROUTE_2))
def test_what_is_left_out_of_the_same_database_is_so_for_a_reason_that_holds(
        number: int, mirror_2: LabServer, recorded_2: dict[int, dict[str, Any]]) -> None:
    still_left_out(number in each(REFUSED_2), number in each(NO_ROUTE_2), mirror_2, recorded_2[number], replay)


def replay(server: LabServer, recording: dict[str, Any]) -> None:
    ours, theirs = send(server, recording["request"]), recording["response"]
    assert ours.status_code == theirs["status"], ours.text
    compare_headers(ours, theirs)
    if "binary" in theirs:
        assert len(ours.content) == theirs["binary"]["length"] or theirs["status"] >= 500
    elif "jsonlines_total" in theirs:
        lines, told = [json.loads(line) for line in ours.text.splitlines()], theirs["jsonlines_first_3_of_each_type"]
        if ours.status_code == 200:
            kinds = {kind: {frozenset(line["data"]) for line in told if line["type"] == kind}
                     for kind in theirs["jsonlines_by_type"]}
            assert {line["type"] for line in lines} == set(kinds)
            assert all(set(line) == {"type", "data", "ack"} and frozenset(line["data"]) in kinds[line["type"]]
                       for line in lines)
        else:
            compare(lines[0], told[0], ours.status_code)
    elif theirs.get("json") is not None:
        compare(ours.json(), theirs["json"], ours.status_code)
    else:
        assert ours.text == theirs["body_text"]


def compare(ours: Any, theirs: Any, status: int) -> None:
    """Errors word for word; else key for key and type for type; of assets what the pipeline reads by value."""
    if status >= 400:
        for issue in theirs.get("errors", ()):
            issue.pop("pattern", None)
        assert {**ours, "correlationId": ""} == {**theirs, "correlationId": ""}
        return
    items = [reply["assets"]["items"] if isinstance(reply, dict) and "assets" in reply and "albums" in reply else
             reply if isinstance(reply, list) and reply and "checksum" in reply[0] else [] for reply in (ours, theirs)]
    if not items[1]:
        assert shape(ours) == shape(theirs)
        return
    assert set(ours) == set(theirs) if isinstance(ours, dict) else len(ours) == len(theirs)
    assert {frozenset(item) for item in items[0]} == {frozenset(item) for item in items[1]}
    compare_rows({item["id"]: item for item in items[0]}, {item["id"]: item for item in items[1]})
    if isinstance(ours, dict):
        assert {name: value for name, value in ours["assets"].items() if name != "items"} == \
            {name: value for name, value in theirs["assets"].items() if name != "items"}


def test_every_recording_is_replayed_or_left_out_once(recorded: dict[int, dict[str, Any]],
                                                     recorded_2: dict[int, dict[str, Any]]) -> None:
    assert sorted([*REPLAYED, *each(REFUSED, NO_ROUTE)]) == sorted(recorded)
    assert sorted([*REPLAYED_2, *each(REFUSED_2, NO_ROUTE_2)]) == sorted(recorded_2)
