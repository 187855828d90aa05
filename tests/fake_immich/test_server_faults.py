"""The faults that the local server commits, seen by a plain client, and the log that it keeps."""

import io
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from busy import LIMIT, wait_until
from immich_lab.faults import KINDS
from immich_lab.server import LabServer
from PIL import Image


@pytest.fixture
def server() -> Iterator[LabServer]:
    with LabServer() as one:
        yield one


@pytest.fixture
def photo(server: LabServer) -> bytes:
    """The bytes of the one asset of user peter."""
    out = io.BytesIO()
    Image.effect_noise((300, 200), 90).save(out, "JPEG", quality=95)
    user = server.add_user("peter")
    server.add_key(user)
    server.add_asset(user, out.getvalue())
    return out.getvalue()


def url(server: LabServer) -> str:
    return f"{server.url}/api/assets/{next(iter(server.library.assets))}/original"


def fetch(server: LabServer, **headers: str) -> requests.Response:
    return requests.get(url(server), headers={**key(server), **headers}, timeout=LIMIT, allow_redirects=False)


def key(server: LabServer) -> dict[str, str]:
    return {"x-api-key": next(iter(server.library.keys))}


def test_a_fault_without_fault_is_the_file(server: LabServer, photo: bytes) -> None:
    assert fetch(server).content == photo


@pytest.mark.parametrize("kind", ["reset", "stop", "cut", "long"])
def test_a_broken_reply_is_seen_as_broken(kind: str, server: LabServer, photo: bytes) -> None:
    server.faults.add(kind, "*/original", times=1)
    with pytest.raises(requests.RequestException):
        fetch(server)
    assert fetch(server).content == photo
    assert [request.fault for request in server.log] == [kind, ""]


def test_a_download_can_stop_where_it_is_told(server: LabServer, photo: bytes) -> None:
    server.faults.add("cut", "*/original", at=5000)
    with requests.get(url(server), headers=key(server), stream=True, timeout=LIMIT) as reply:
        assert int(reply.headers["Content-Length"]) == len(photo)
        assert reply.raw.read(5000) == photo[:5000]
    assert server.log.find("*/original")[0].sent == 5000


def test_replies_that_look_well_and_are_not(server: LabServer, photo: bytes) -> None:
    server.faults.add("wrong_bytes", times=1)
    wrong = fetch(server)
    assert wrong.status_code == 200 and len(wrong.content) == len(photo) and wrong.content != photo
    server.faults.add("short", times=1, piece=100)
    assert fetch(server).content == photo[:-100]
    server.faults.add("html", times=1)
    assert fetch(server).headers["Content-Type"].startswith("text/html")
    server.faults.add("ignore_range", times=1)
    whole = fetch(server, Range="bytes=10-19")
    assert (whole.status_code, whole.content) == (200, photo)
    server.faults.add("json_image", times=1)
    broken = fetch(server)
    assert (broken.status_code, "message" in broken.json()) == (500, True)
    assert broken.headers["Content-Type"].startswith("image/")


def test_statuses_come_with_retry_after_and_redirects_with_a_place(server: LabServer, photo: bytes) -> None:
    server.faults.add("status", status=429, retry_after=7, times=1)
    busy = fetch(server)
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "7")
    server.faults.add("redirect", location="http://elsewhere.example/", times=1)
    assert fetch(server).headers["Location"] == "http://elsewhere.example/"


def test_skip_every_and_times_choose_the_requests(server: LabServer, photo: bytes) -> None:
    fault = server.faults.add("status", "*/original", skip=2, every=3, times=2)
    assert [fetch(server).status_code for _ in range(10)] == [200, 200, 503, 200, 200, 503, 200, 200, 200, 200]
    assert requests.get(f"{server.url}/api/server/ping", timeout=LIMIT).ok and (fault.seen, fault.done) == (10, 2)


@pytest.mark.parametrize(("kind", "options"), [("delay", {}), ("stall", {"at": 10}), ("trickle", {"piece": 30_000})])
def test_slow_replies_are_slow_and_whole(kind: str, options: dict[str, int], server: LabServer,
                                         photo: bytes) -> None:
    server.faults.add(kind, "*/original", seconds=0.15, **options)
    began = time.monotonic()
    assert fetch(server).content == photo
    assert time.monotonic() - began >= 0.15


def test_the_server_goes_away_and_comes_back_on_the_same_port(server: LabServer, photo: bytes) -> None:
    session = requests.Session()
    assert session.get(url(server), headers=key(server), timeout=LIMIT).ok
    port = server.port
    server.down()
    with pytest.raises(requests.ConnectionError):
        session.get(url(server), headers=key(server), timeout=LIMIT)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
    server.up()
    assert server.port == port and session.get(url(server), headers=key(server), timeout=LIMIT).content == photo


def test_a_request_can_take_the_whole_server_down_for_a_while(server: LabServer, photo: bytes) -> None:
    server.faults.add("down", "*/original", skip=1, seconds=3, times=1)
    assert fetch(server).ok
    with pytest.raises(requests.ConnectionError):
        fetch(server)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT)
    wait_until(lambda: answers(server), "the server comes back")
    assert fetch(server).content == photo


def answers(server: LabServer) -> bool:
    try:
        return fetch(server).ok
    except requests.ConnectionError:
        return False


def test_the_log_knows_who_asked_what_and_how_many_at_once(server: LabServer, photo: bytes) -> None:
    server.faults.add("delay", "*/original", seconds=2)      # in which all four arrive
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch(server, Range="bytes=0-9"), range(4)))
    requests.post(f"{server.url}/api/search/metadata?a=b", json={"size": 3}, headers=key(server), timeout=LIMIT)
    assert server.log.settled() and server.log.most_in_flight == 4 and server.log.in_flight == 0
    download, search = server.log.find("*/original")[0], server.log.find("*/search/*", "POST")[0]
    assert (download.user, download.status, download.sent, download.headers["range"]) == ("peter", 206, 10, "bytes=0-9")
    assert (search.body, search.query, search.status) == ({"size": 3}, {"a": "b"}, 200)


def test_connections_are_kept_alive_and_idle_ones_closed() -> None:
    with LabServer(keep_alive=LIMIT) as server:
        session = requests.Session()
        for _ in range(3):
            session.get(f"{server.url}/api/server/ping", timeout=LIMIT)
        assert server.log.connections == 1
        server.keep_alive = 0.3
        with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) as idle:
            assert idle.recv(1) == b""


def test_an_unknown_fault_is_refused(server: LabServer) -> None:
    with pytest.raises(ValueError, match=KINDS[0]):
        server.faults.add("explode")
