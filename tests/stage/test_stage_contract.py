"""Every request that a stage sends is one that Immich takes: as 2.7.2 and 3.1.0 describe themselves, and as contracts
made from the descriptions of 3.2.2 and 3.3.5 say (tests/fake_immich/contracts.py).
"""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from immich_lab import backups
from immich_lab.request_log import Request
from stage_lab import CHECKOUT, NEEDED, Lab, laboratory

from facesets.immich import backup

CONTRACTS = json.loads((CHECKOUT / "tests" / "fake_immich" / "contracts.json").read_text(encoding="utf-8"))
BODIES = {"/api/search/metadata": "MetadataSearchDto", "/api/search/random": "RandomSearchDto",
          "/api/sync/stream": "SyncStreamDto", "/api/auth/login": "LoginCredentialDto", "/api/albums": "CreateAlbumDto",
          "/api/albums/{id}/assets": "BulkIdsDto", "/api/people/{id}": "PersonUpdateDto"}
SENT = {"id", "type", "visibility", "withExif", "withPeople", "size", "page", "order",
        *(f"{time}{way}" for time in ("taken", "updated", "created") for way in ("After", "Before"))}   # in a search


def asks_everything(lab: Lab) -> None:
    """A library that leads to every kind of request: a shared date, a video, no exif row, an archive, people."""
    lab.extra["FACESETS_READ_TIMEOUT"] = "30"
    lab.key = lab.server.add_key(lab.user, (*NEEDED, "asset.statistics", "person.read"))
    anna = lab.server.add_person(lab.user, "Anna")
    for asset in lab.add(8):
        asset.faces[0].person = anna
    lab.one(exif=None, name="no exif row.jpg")
    lab.one(visibility="archive", name="archived.jpg")
    lab.one(name="developed.dng")
    lab.one(type="VIDEO", name="film.mp4", faces=0)
    for number in range(1100):
        lab.server.library.add_asset(
            lab.user, None, checksum=number.to_bytes(20, "big"), size=1000, width=40, height=30, name=f"{number}.jpg",
            taken="2020-06-01T12:00:00", updated=1_600_000_000_000 + number)


def back_up(lab: Lab) -> None:
    """The server has a backup, in which Anna is one person by her embeddings as well."""
    rng = np.random.default_rng(1)
    admin = lab.server.add_user("Admin")
    admin.is_admin, anna = True, rng.normal(size=512)
    lab.extra["IMMICH_ADMIN_API_KEY"] = lab.server.add_key(admin, backup.PERMISSIONS)
    backups.offer(lab.server.library, backups.dump(
        lab.server.library, lambda face: anna + 0.3 * rng.normal(size=512) if face.person else None,
        lab.server.version[:2]))


def asked(folder: Path, version: tuple[int, int, int], login: bool) -> list[Request]:
    """What a run asks, and then one in a folder of its own with a backup."""
    with laboratory(folder, version, asks_everything) as lab:
        if login:
            lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": lab.user.password, "IMMICH_API_KEY": ""}
        back_up(lab)
        for root, flags in (("plain", ()), ("backup", ("--backup", "server"))):
            lab.root = folder / root
            run = lab.stage(*flags)
            assert run.status == 0 and run.summary["gate_held"], run.err
        refused = [request for request in lab.server.log if request.status >= 400]
        assert not refused, [(request.path, request.body, request.status) for request in refused]
        assert {field for one in lab.server.log if "/search/" in one.path for field in one.body} <= SENT
        return list(lab.server.log)


@pytest.mark.parametrize("login", [False, True])
@pytest.mark.parametrize("version", CONTRACTS)
def test_every_request_is_one_that_later_versions_take(version: str, login: bool, tmp_path: Path) -> None:
    major, minor, patch = map(int, version.split("."))
    requests = asked(tmp_path, (major, minor, patch), login)
    for request in requests:
        taken(CONTRACTS[version], request)
    sent = {route(request) for request in requests}
    assert {"POST /search/metadata", "GET /assets/{id}/original", "GET /assets/{id}/thumbnail",
            "GET /people/{id}/thumbnail", "GET /admin/database-backups/{filename}"} <= sent
    assert ("POST /sync/stream" if login else "GET /faces") in sent


def taken(contract: dict[str, Any], request: Request) -> None:
    """The route is there, with every field of the query, and the body is one of its."""
    assert set(request.query) <= set(contract["routes"][route(request)]), request
    if request.body:
        jsonschema.validate(request.body, contract[BODIES["/api" + route(request).partition(" ")[2]]])


def route(request: Request) -> str:
    """As a description of the server calls it."""
    path = re.sub(r"/[0-9a-f]{8}-[0-9a-f-]{27}(?=/|$)", "/{id}", request.path.removeprefix("/api"))
    return f"{request.method} {re.sub(r'[^/]+[.]sql[.]gz$', '{filename}', path)}"


@pytest.mark.parametrize("version", [(2, 7, 2), (3, 1, 0)])
def test_every_request_fits_the_servers_own_description(version: tuple[int, int, int], shared: Path,
                                                        tmp_path: Path) -> None:
    name = ".".join(map(str, version))
    document = json.loads((shared / "immich" / f"openapi-{name}.json").read_text(encoding="utf-8"))
    for number, login in enumerate((False, True)):
        for request in asked(tmp_path / str(number), version, login):
            described(document, request)


def described(document: dict[str, Any], request: Request) -> None:
    """The route exists, with every field of the query and of the body, which has the types that it should have."""
    path = route(request).partition(" ")[2]
    there = document["paths"][path][request.method.lower()]
    assert set(request.query) <= {one["name"] for one in there.get("parameters", ()) if one["in"] == "query"}, path
    if request.body:
        schema = there["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate(request.body, {**schema, "components": document["components"]})
        fields = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
        assert set(request.body) <= set(fields), path
