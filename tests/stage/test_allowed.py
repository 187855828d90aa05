"""What the client refuses to send, whoever asks it to and wherever a redirect leads."""

import threading
from typing import Any

import pytest
from immich_lab.server import LabServer

from facesets.common.errors import Failure
from facesets.immich import allowed
from facesets.immich.breaker import Breaker
from facesets.immich.client import Access, Client

ID, OTHER = "62c61835-967f-4bc6-9da4-c03c0e0275d4", "e6073de9-42f9-48b4-bcdd-2eefb1d109fc"
READ: list[tuple[str, str, Any]] = [
    ("GET", "/anything", None), ("POST", "/search/metadata", {"size": 1}), ("POST", "/search/random", {}),
    ("POST", "/sync/stream", {"types": []}), ("POST", "/auth/login", {}), ("POST", "/auth/logout", {})]
WRITTEN: list[tuple[str, str, Any]] = [
    ("PUT", f"/people/{ID}", {"name": "Anna"}), ("POST", "/albums", {"albumName": "Anna", "description": ""}),
    ("PUT", f"/albums/{ID}/assets", {"ids": [OTHER]}), ("DELETE", f"/albums/{ID}/assets", {"ids": [OTHER]}),
    ("DELETE", f"/albums/{ID}", None)]
NEVER: list[tuple[str, str, Any]] = [
    ("PUT", f"/people/{ID}", {"name": "Anna", "isHidden": True}), ("PUT", f"/people/{ID}", {"birthDate": None}),
    ("PUT", "/people", {"people": []}), ("POST", "/people", {"name": "Anna"}), ("DELETE", f"/people/{ID}", None),
    ("POST", f"/people/{ID}/merge", {"ids": [OTHER]}), ("PUT", f"/people/{ID}/reassign", {}),
    ("PUT", f"/faces/{ID}", {"id": OTHER}), ("DELETE", f"/faces/{ID}", None), ("DELETE", "/assets", {"ids": [ID]}),
    ("PUT", f"/assets/{ID}", {}), ("POST", "/assets", None), ("POST", "/albums", {"albumName": "a", "albumUsers": []}),
    ("PATCH", f"/albums/{ID}", {}), ("PUT", f"/albums/{ID}/users", {}), ("PUT", f"/people/{ID}/../x", {"name": ""}),
    ("PUT", f"/people/{ID}%2fmerge", {"name": ""}), ("PUT", "/people/abc", {"name": ""}), ("POST", "/jobs", {})]


@pytest.mark.parametrize("may_write", [False, True])
@pytest.mark.parametrize(("method", "path", "body"), READ + WRITTEN + NEVER)
def test_only_what_is_listed_is_sent(method: str, path: str, body: Any, may_write: bool) -> None:
    url = f"https://photos.example.org/base/api{path}?key=1"
    if (method, path, body) in READ or (may_write and (method, path, body) in WRITTEN):
        allowed.refuse(method, url, body, may_write)
    else:
        with pytest.raises(Failure, match="never sent"):
            allowed.refuse(method, url, body, may_write)


def test_what_a_redirect_hides_behind_its_end_is_no_excuse() -> None:
    """Only /albums would be sent."""
    for url in ("https://photos.example.org/api/albums#/api/search/metadata", "http://a/api/albums?#/api/auth/logout"):
        with pytest.raises(Failure, match="never sent"):
            allowed.refuse("POST", url, {}, False)


@pytest.mark.parametrize("may_write", [False, True])
def test_a_redirect_does_not_lead_to_another_write(may_write: bool) -> None:
    with LabServer() as server:
        user = server.add_user("Peter")
        person = server.add_person(user)
        access = Access(server.url, ("x-api-key", server.add_key(user)), retry_pause=0.01, may_write=may_write)
        client = Client(access, Breaker(1), threading.Event())
        server.faults.add("redirect", "/api/people/*", location=f"/api/people/{person.id}/merge")
        with pytest.raises(Failure, match="never sent"):
            client.json("PUT", f"/people/{person.id}", {"name": "Anna"})
        assert [one.path.rpartition("/")[2] for one in server.log] == [person.id] * may_write
