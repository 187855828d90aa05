"""Replies of the local server, as 2.7.2 and as 3.1.0, against Immich's own API descriptions."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
from busy import LIMIT
from immich_lab.routes_people import Album
from immich_lab.server import LabServer
from PIL import Image

VERSIONS = ((2, 7, 2), (3, 1, 0))
GETS = ("/server/ping", "/server/version", "/users/me", "/api-keys/me", "/assets/statistics",
        "/timeline/buckets", "/timeline/bucket?timeBucket=2020-05-01", "/albums")
SEARCHES: tuple[dict[str, Any], ...] = ({}, {"withPeople": True}, {"withExif": True, "withPeople": True, "size": 2})
SYNCED = {"PeopleV1": "SyncPersonV1", "AssetFacesV1": "SyncAssetFaceV1", "AssetFacesV2": "SyncAssetFaceV2"}


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: ".".join(map(str, version)))
def described(request: pytest.FixtureRequest, shared: Path) -> Iterator[tuple[LabServer, dict[str, Any]]]:
    """A server with one asset of every kind, and the description of its version."""
    name = ".".join(map(str, request.param))
    document = nullable(json.loads((shared / "immich" / f"openapi-{name}.json").read_text(encoding="utf-8")))
    with LabServer(request.param) as server:
        every_kind(server)
        yield server, document


def every_kind(server: LabServer) -> None:
    user = server.add_user("peter", admin=True)
    server.add_key(user)
    server.library.sessions["session"] = user
    anna, nobody = server.add_person(user, "Anna", birth_date="1990-01-02", color="#ff0000"), server.add_person(user)
    picture = io.BytesIO()
    Image.new("RGB", (400, 300), (90, 120, 150)).save(picture, "JPEG")
    taken = "2020-05-06T07:08:09"
    first = server.add_asset(user, picture.getvalue(), name="a.jpg", taken=taken, local="2020-05-06T09:08:09", faces=[
        server.face((10, 10, 90, 90), 400, 300, anna), server.face((100, 10, 190, 90), 400, 300, nobody),
        server.face((200, 10, 290, 90), 400, 300)],
        exif={"make": "Canon", "city": "Bonn", "latitude": 50.7, "iso": 100})
    clip = server.add_asset(user, b"film", name="b.mp4", type="VIDEO", visibility="hidden", duration=2500, taken=taken,
                            width=100, height=50)
    server.add_asset(user, picture.getvalue() + b"1", taken=taken, live_photo=clip.id, external=True, orientation=6)
    server.add_asset(user, picture.getvalue() + b"2", taken=taken, visibility="archive", exif=None)
    server.add_asset(user, b"", taken=taken, offline=True, name="gone.jpg")
    server.add_asset(user, picture.getvalue() + b"3", taken=taken, edits=(
        {"action": "crop", "parameters": {"x": 10, "y": 10, "width": 100, "height": 50}},))
    full, empty = (Album(server.library.new_id(), user, name) for name in ("full", "empty"))
    full.assets[first.id] = first
    server.library.albums |= {full.id: full, empty.id: empty}


def test_what_a_key_may_change_is_replied_to_as_described(described: tuple[LabServer, dict[str, Any]]) -> None:
    server, document = described
    person, assets = next(iter(server.library.people)), list(server.library.assets)
    made = send(server, "post", "/albums", {"albumName": "Anna", "description": "d", "assetIds": assets[:1]})
    check(document, "post", "/albums", made)
    path = f"/albums/{made.json()['id']}"
    for method in ("put", "delete"):
        reply = send(server, method, f"{path}/assets", {"ids": [assets[0], assets[1], server.library.new_id()]})
        check(document, method, "/albums/{id}/assets", reply)
        assert [one.get("error") for one in reply.json()] == {"put": ["duplicate", None, "no_permission"],
                                                              "delete": [None, None, "not_found"]}[method]
    check(document, "put", "/people/{id}", send(server, "put", f"/people/{person}", {"name": "Anna"}))
    assert [send(server, "delete", path).status_code for _ in range(2)] == [204, 400]


def send(server: LabServer, method: str, path: str, body: Any = None) -> requests.Response:
    return requests.request(method, server.url + "/api" + path, json=body, headers=key_of(server), timeout=LIMIT)


def nullable(value: Any) -> Any:
    """OpenAPI 3.0's `nullable` in the words of JSON Schema."""
    if isinstance(value, list):
        return [nullable(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: nullable(item) for name, item in value.items() if name != "nullable"}
    return {"anyOf": [kept, {"type": "null"}]} if value.get("nullable") is True else kept


def check(document: dict[str, Any], method: str, path: str, reply: requests.Response) -> None:
    """`reply` fits what the document says of this route and status."""
    assert reply.ok, reply.text
    answers = document["paths"][path][method]["responses"]
    schema = answers[str(reply.status_code)]["content"]["application/json"]["schema"]
    jsonschema.validate(reply.json(), {**schema, "components": document["components"]},
                        cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("path", GETS)
def test_a_listing_fits_the_description(path: str, described: tuple[LabServer, dict[str, Any]]) -> None:
    server, document = described
    reply = requests.get(server.url + "/api" + path, headers=key_of(server), timeout=LIMIT)
    check(document, "get", path.partition("?")[0], reply)


@pytest.mark.parametrize("body", SEARCHES, ids=str)
def test_a_search_fits_the_description(body: dict[str, Any], described: tuple[LabServer, dict[str, Any]]) -> None:
    server, document = described
    reply = requests.post(server.url + "/api/search/metadata", json=body, headers=key_of(server), timeout=LIMIT)
    assert reply.json()["assets"]["items"]
    check(document, "post", "/search/metadata", reply)


def test_faces_and_people_fit_the_description(described: tuple[LabServer, dict[str, Any]]) -> None:
    server, document = described
    assert server.library.assets and server.library.people
    for identity in server.library.assets:
        check(document, "get", "/faces",
              requests.get(f"{server.url}/api/faces?id={identity}", headers=key_of(server), timeout=LIMIT))
    for identity in server.library.people:
        check(document, "get", "/people/{id}",
              requests.get(f"{server.url}/api/people/{identity}", headers=key_of(server), timeout=LIMIT))


def test_login_and_sync_stream_fit_the_description(described: tuple[LabServer, dict[str, Any]]) -> None:
    server, document = described
    login = requests.post(server.url + "/api/auth/login", timeout=LIMIT,
                          json={"email": "peter@example.org", "password": "password"})
    check(document, "post", "/auth/login", login)
    for kind, name in SYNCED.items():
        if name not in document["components"]["schemas"]:
            continue
        reply = requests.post(server.url + "/api/sync/stream", json={"types": [kind]}, timeout=LIMIT,
                              headers={"Authorization": f"Bearer {login.json()['accessToken']}"})
        lines = [json.loads(line) for line in reply.text.splitlines()]
        assert len(lines) > 1 and lines[-1]["type"] == "SyncCompleteV1"
        for line in lines[:-1]:
            jsonschema.validate(line["data"], {"$ref": f"#/components/schemas/{name}",
                                               "components": document["components"]},
                                cls=jsonschema.Draft202012Validator)


def key_of(server: LabServer) -> dict[str, str]:
    return {"x-api-key": next(iter(server.library.keys))}
