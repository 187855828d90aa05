"""What the local server does that a client has to cope with: lost rows, partners, changes while it runs, versions."""

import base64
import hashlib
import io
import ipaddress
import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from busy import LIMIT
from immich_lab.library_bulk import fill
from immich_lab.server import LabServer
from PIL import Image

from facesets.fake_immich.library_model import User


@pytest.fixture
def server() -> Iterator[LabServer]:
    with LabServer() as one:
        yield one


def jpeg(color: tuple[int, int, int] = (10, 120, 200), size: tuple[int, int] = (64, 48), orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "JPEG", exif=exif)
    return out.getvalue()


def search(server: LabServer, key: str, **body: Any) -> dict[str, Any]:
    reply = requests.post(f"{server.url}/api/search/metadata", json=body, headers={"x-api-key": key}, timeout=LIMIT)
    assert reply.status_code == 200, reply.text
    return reply.json()["assets"]


def walk(server: LabServer, key: str, **body: Any) -> list[str]:
    """Ids of all pages, by offset."""
    ids, page = [], 1
    while page:
        found = search(server, key, page=page, **body)
        ids += [item["id"] for item in found["items"]]
        page = int(found["nextPage"] or 0)
    return ids


def get(server: LabServer, key: str, path: str, **headers: str) -> requests.Response:
    return requests.get(f"{server.url}/api{path}", headers={"x-api-key": key, **headers}, timeout=LIMIT)


def scans(server: LabServer) -> tuple[User, str]:
    """The recorded library of scans: 2,600 photos, the newest 1,800 of one date."""
    user = server.add_user("peter")
    day = datetime(2012, 1, 1, tzinfo=UTC)
    for number in range(2600):
        taken = day + timedelta(hours=number) if number < 800 else datetime(2020, 6, 1, tzinfo=UTC)
        server.add_asset(user, taken=taken, size=1, checksum=number.to_bytes(20, "big"))
    return user, server.add_key(user)


@pytest.mark.parametrize(("size", "recorded"), [(100, 606), (250, 633), (500, 515), (1000, 515)])
def test_offset_paging_loses_about_what_postgres_lost(server: LabServer, size: int, recorded: int) -> None:
    _, key = scans(server)
    ids = walk(server, key, size=size, withPeople=True, withExif=True)
    assert len(ids) == 2600
    assert 0.5 * recorded < 2600 - len(set(ids)) < 1.5 * recorded
    assert ids == walk(server, key, size=size, withPeople=True, withExif=True)


def test_the_timeline_lists_everything_that_paging_loses(server: LabServer) -> None:
    _, key = scans(server)
    buckets = get(server, key, "/timeline/buckets").json()
    ids = [identity for bucket in buckets
           for identity in get(server, key, f"/timeline/bucket?timeBucket={bucket['timeBucket']}").json()["id"]]
    assert sum(bucket["count"] for bucket in buckets) == len(ids) == len(set(ids)) == 2600
    assert get(server, key, "/assets/statistics").json() == {"images": 2600, "videos": 0, "total": 2600}


@pytest.mark.parametrize("version", [(2, 7, 2), (3, 1, 0)])
def test_an_asset_without_an_exif_row_is_counted_and_not_listed(version: tuple[int, int, int]) -> None:
    with LabServer(version) as server:
        user = server.add_user("peter")
        whole, fresh = (server.add_asset(user, jpeg(), taken="2014-05-05T00:00:00", exif=exif) for exif in ({}, None))
        key = server.add_key(user)
        assert [one["count"] for one in get(server, key, "/timeline/buckets").json()] == [2]
        assert get(server, key, "/assets/statistics").json()["images"] == 2
        assert get(server, key, "/timeline/bucket?timeBucket=2014-05-01").json()["id"] == [whole.id]
        assert [row["id"] for row in search(server, key, withExif=True)["items"]] == [whole.id]
        assert {row["id"] for row in search(server, key)["items"]} == {whole.id, fresh.id}


def test_paging_by_date_finds_what_lies_after_it_inclusive(server: LabServer) -> None:
    _, key = scans(server)
    found = search(server, key, order="asc", size=1000, takenAfter="2012-02-03T06:00:00.000Z")
    assert found["items"][0]["fileCreatedAt"] == "2012-02-03T06:00:00.000Z"
    assert len(search(server, key, takenBefore="2012-01-01T01:00:00Z", size=1000)["items"]) == 2


def test_from_3_1_on_nothing_is_lost() -> None:
    with LabServer((3, 1, 0)) as server:
        _, key = scans(server)
        assert len(set(walk(server, key, size=500, withExif=True))) == 2600


@pytest.mark.parametrize("field", [{"filter": "x"}, {"orderBy": "x"}, {"cursor": "x"}])
def test_3_2_refuses_plain_values_where_it_has_its_new_search(field: dict[str, str]) -> None:
    for version, status in (((3, 1, 0), 200), ((3, 2, 0), 400)):
        with LabServer(version) as server:
            reply = requests.post(f"{server.url}/api/search/metadata", json={**field, "type": "IMAGE"}, timeout=LIMIT,
                                  headers={"x-api-key": server.add_key(server.add_user("peter"))})
            assert reply.status_code == status


def test_default_visibility_differs_between_versions() -> None:
    for version, seen in (((2, 7, 2), {"timeline"}), ((3, 1, 0), {"timeline", "archive", "hidden"})):
        with LabServer(version) as server:
            user = server.add_user("peter")
            for visibility in ("timeline", "archive", "hidden", "locked"):
                server.add_asset(user, jpeg(), visibility=visibility)
            found = search(server, server.add_key(user))
            assert {item["visibility"] for item in found["items"]} == seen


def test_boxes_are_in_search_on_2_and_only_behind_faces_on_3() -> None:
    for version in ((2, 7, 2), (3, 1, 0)):
        with LabServer(version) as server:
            user = server.add_user("peter")
            key, anna = server.add_key(user), server.add_person(user, "Anna", hidden=True)
            asset = server.add_asset(user, jpeg(), faces=[
                server.face((1, 2, 30, 40), 64, 48, anna), server.face((3, 4, 30, 40), 64, 48),
                server.face((3, 4, 30, 40), 64, 48, visible=False), server.face((3, 4, 30, 40), 64, 48, deleted=True)])
            item = search(server, key, withPeople=True)["items"][0]
            assert [person["isHidden"] for person in item["people"]] == [True]
            assert ("faces" in item["people"][0]) == ("unassignedFaces" in item) == (version[0] == 2)
            assert "unassignedFaces" not in search(server, key)["items"][0]
            boxes = get(server, key, f"/faces?id={asset.id}").json()
            assert [box["boundingBoxX1"] for box in boxes] == [1, 3]


@pytest.mark.parametrize(("version", "missing", "foreign"), [((2, 7, 2), 500, 400), ((3, 1, 0), 404, 404)])
def test_missing_files_foreign_ids_and_a_lost_disk(version: tuple[int, int, int], missing: int, foreign: int) -> None:
    with LabServer(version) as server:
        user, other = server.add_user("peter"), server.add_user("anna")
        key = server.add_key(user)
        there, gone, hers = server.add_asset(user, jpeg()), server.add_asset(user), server.add_asset(other, jpeg())
        assert get(server, key, f"/assets/{there.id}/original").content == jpeg()
        reply = get(server, key, f"/assets/{gone.id}/original")
        assert reply.status_code == missing and "message" in reply.json()
        assert ("image/jpeg" in reply.headers["Content-Type"]) == (version[0] == 2)
        assert get(server, key, f"/assets/{hers.id}/original").status_code == foreign
        server.library.mounted = False
        assert get(server, key, f"/assets/{there.id}/original").status_code == missing
        beyond = get(server, key, f"/assets/{there.id}/original", Range="bytes=999999-")
        assert beyond.status_code == missing


def test_a_partner_in_the_timeline_brings_foreign_owners_into_search(server: LabServer) -> None:
    user, partner = server.add_user("peter"), server.add_user("anna")
    key = server.add_key(user)
    mine, hers = server.add_asset(user, jpeg()), server.add_asset(partner, jpeg())
    server.library.share(partner, user, in_timeline=False)
    assert walk(server, key) == [mine.id]
    server.library.share(partner, user)
    assert set(walk(server, key)) == {mine.id, hers.id}
    assert get(server, key, "/assets/statistics").json()["total"] == 1
    assert get(server, key, f"/assets/{hers.id}/original").status_code == 200


def test_an_external_librarys_checksum_is_that_of_the_path(server: LabServer, tmp_path: Path) -> None:
    user = server.add_user("peter")
    (tmp_path / "a.jpg").write_bytes(jpeg())
    outside = server.add_asset(user, tmp_path / "a.jpg", external=True, path="/mnt/a.jpg")
    upload = server.add_asset(user, tmp_path / "a.jpg")
    item = {one["id"]: one["checksum"] for one in search(server, server.add_key(user))["items"]}
    assert item[outside.id] == base64.b64encode(hashlib.sha1(b"path:/mnt/a.jpg").digest()).decode()
    assert item[upload.id] == base64.b64encode(hashlib.sha1(jpeg()).digest()).decode()


def test_width_and_height_are_upright_and_the_file_is_not(server: LabServer) -> None:
    user = server.add_user("peter")
    key = server.add_key(user)
    asset = server.add_asset(user, jpeg(size=(64, 48), orientation=6))
    item = search(server, key, withExif=True)["items"][0]
    assert (item["width"], item["height"]) == (48, 64)
    assert (item["exifInfo"]["exifImageWidth"], item["exifInfo"]["orientation"]) == (64, "6")
    preview = get(server, key, f"/assets/{asset.id}/thumbnail?size=preview")
    assert Image.open(io.BytesIO(preview.content)).size == (48, 64)


def test_assets_come_change_and_go_while_it_runs(server: LabServer) -> None:
    user = server.add_user("peter")
    key = server.add_key(user)
    asset = server.add_asset(user, jpeg(), taken="2020-01-01")
    before = search(server, key)["items"][0]["updatedAt"]
    server.library.add_face(asset, server.face((1, 1, 9, 9), 64, 48))
    item = search(server, key, withPeople=True)["items"][0]
    assert len(item["unassignedFaces"]) == 1 and item["updatedAt"] == before
    server.change_asset(asset, visibility="archive")
    assert search(server, key)["items"] == [] and len(search(server, key, visibility="archive")["items"]) == 1
    server.delete_asset(asset)
    assert get(server, key, f"/faces?id={asset.id}").status_code == 400


def test_the_sync_stream_tells_what_is_there_and_what_was_deleted(server: LabServer) -> None:
    user = server.add_user("peter")
    token = requests.post(f"{server.url}/api/auth/login", timeout=LIMIT,
                          json={"email": "peter@example.org", "password": "password"}).json()["accessToken"]
    bearer = {"Authorization": f"Bearer {token}"}
    person = server.add_person(user, "Anna")
    faces = [server.face((1, 1, 9, 9), 64, 48) for _ in range(2)]
    first = server.add_asset(user, jpeg(), faces=faces[:1])
    assert [line["type"] for line in stream(server, bearer)] == ["AssetFaceV2", "PersonV1", "SyncCompleteV1"]
    server.delete_person(person)
    server.library.add_face(first, faces[1])
    lines = stream(server, bearer)
    assert [line["data"] for line in lines if line["type"] == "PersonDeleteV1"] == [{"personId": person.id}]
    assert [line["data"]["id"] for line in lines if line["type"] == "AssetFaceV2"] == [face.id for face in faces]
    key = {"x-api-key": server.add_key(user)}
    assert requests.post(f"{server.url}/api/sync/stream", json={"types": ["PeopleV1"]}, headers=key,
                         timeout=LIMIT).status_code == 403


def stream(server: LabServer, headers: dict[str, str]) -> list[dict[str, Any]]:
    reply = requests.post(f"{server.url}/api/sync/stream", json={"types": ["AssetFacesV2", "PeopleV1"]},
                          headers=headers, timeout=LIMIT)
    return [json.loads(line) for line in reply.text.splitlines()]


def test_a_made_up_library_is_the_same_each_time_and_can_be_downloaded() -> None:
    listed = []
    for _ in range(2):
        with LabServer() as server:
            user = server.add_user("peter")
            key = server.add_key(user)
            assets = fill(server.library, user, 500, photos=[jpeg(), jpeg((9, 9, 9))])
            rows = [asset for asset in assets if asset.visibility == "timeline"]
            listed.append(sorted(walk(server, key, size=1000)))
            assert len(listed[-1]) == len(rows) and sum(bool(asset.faces) for asset in assets) > 150
            body = get(server, key, f"/assets/{rows[7].id}/original").content
            assert hashlib.sha1(body).digest() == rows[7].checksum and Image.open(io.BytesIO(body)).size == (64, 48)
    assert listed[0] == listed[1]


def test_it_speaks_tls(tmp_path: Path) -> None:
    certificate, private = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    with LabServer(tls=context) as server:
        reply = requests.get(f"{server.url}/api/server/ping", verify=str(certificate), timeout=LIMIT)
        assert server.url.startswith("https://") and reply.json() == {"res": "pong"}
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{server.url}/api/server/ping", timeout=LIMIT)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its private key, as PEM files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
                   .not_valid_after(now + timedelta(days=1))
                   .add_extension(address, critical=False).sign(key, hashes.SHA256()))
    paths = (folder / "certificate.pem", folder / "key.pem")
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
    return paths
