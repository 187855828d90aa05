"""Who may ask and answer: the one person who has the link, through our own page, in words and sizes that we know."""

import errno
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import full
import pytest
from busy import LIMIT, wait_until
from drawn import OPTIONS
from killing import killed

from facesets.export.run import changing
from facesets.library.store import Library
from facesets.operations import consolidate, edit
from facesets.review import answers
from facesets.review.answers import Answer
from facesets.review.desk import NAME, Desk
from facesets.review.holdings import Holdings

CHECKOUT = Path(__file__).resolve().parents[2]


class Client:
    """A browser as far as it matters here: a cookie, and headers that are given."""

    def __init__(self, link: str) -> None:
        self.host, _, self.start = link.removeprefix("http://").partition("/")
        self.cookie = ""

    def ask(self, method: str, path: str, body: bytes | None = None,
            **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=LIMIT)
        known = {"Host": self.host, "Cookie": self.cookie, "Origin": f"http://{self.host}",
                 "Content-Type": "application/json"}
        known |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host=True)
        for name, value in known.items():
            if value:
                connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        if body:
            connection.send(body)
        reply = connection.getresponse()
        found = reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
        connection.close()
        return found

    def enter(self) -> "Client":
        status, headers, _ = self.ask("GET", "/" + self.start)
        assert (status, headers["location"]) == (303, "/")
        self.cookie = headers["set-cookie"].partition(";")[0]
        return self

    def now(self) -> dict[str, Any]:
        return json.loads(self.ask("GET", "/now")[2])

    def answer(self, value: dict[str, Any], **headers: str) -> int:
        now = self.now()
        sent = {"version": now["version"], "question": now["question"]["id"], "answer": value}
        return self.ask("POST", "/answer", json.dumps(sent).encode(), **headers)[0]


@pytest.fixture
def client(lab: Any) -> Client:
    return Client(lab.serve().link)


def test_the_link_works_once_and_becomes_a_cookie_that_no_other_site_sends(client: Client) -> None:
    status, headers, _ = client.ask("GET", "/" + client.start)
    assert status == 303
    said = headers["set-cookie"].lower()
    assert "httponly" in said and "samesite=strict" in said and "path=/" in said
    assert client.ask("GET", "/" + client.start)[0] == 403      # no cookie yet: the link is spent
    client.cookie = headers["set-cookie"].partition(";")[0]
    assert client.ask("GET", "/")[0] == 200 and client.ask("GET", "/" + client.start)[0] == 303


def test_it_listens_on_this_machine_only_at_a_port_of_its_own(lab: Any) -> None:
    one, other = lab.serve(), lab.serve()
    assert one._server.socket.getsockname()[0] == "127.0.0.1"
    assert one.port != other.port and one.link != other.link


@pytest.mark.parametrize("token", ["", "x", "%C3%A4", "../start", "a" * 5000])
def test_a_wrong_token_opens_nothing(client: Client, token: str) -> None:
    assert client.ask("GET", "/start/" + token)[0] in (403, 404)
    assert client.enter().now()["question"]


@pytest.mark.parametrize("path", ["/", "/now", "/review.js", "/page.css", "/face/0123456789ab", "/photo/0123456789ab"])
def test_nothing_is_shown_without_the_cookie(client: Client, path: str) -> None:
    assert client.ask("GET", path)[0] == 403
    assert client.ask("GET", path, Cookie="review1=x")[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost", "127.0.0.1", "[::1]", ""])
def test_a_name_that_was_pointed_here_gets_nothing(client: Client, host: str) -> None:
    client.enter()
    assert client.ask("GET", "/now", Host=host)[0] in (400, 421)
    assert client.answer({"do": "drop", "of": "faceset_001"}, Host=host) in (400, 421)


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": ""},
                                     {"Content_Type": "text/plain"}, {"Content_Type": ""},
                                     {"Content_Type": "application/x-www-form-urlencoded"}])
def test_another_site_cannot_answer(lab: Any, client: Client, headers: dict[str, str]) -> None:
    client.enter()
    assert client.answer({"do": "drop", "of": "faceset_001"}, **headers) == 403
    assert client.ask("OPTIONS", "/answer", Origin="http://evil.example")[0] in (403, 405)
    assert len(lab.library.canonical()) == 7


def test_no_reply_lets_another_site_read_it(client: Client) -> None:
    for path in ("/", "/now", "/face/nothing", "/start/x"):
        _, headers, _ = client.ask("GET", path)
        assert not [name for name in headers if name.startswith("access-control")]
        assert "default-src 'none'" in headers["content-security-policy"] and "unsafe" not in str(headers)
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("name", [
    "../manifest.json", "..%2f..%2fetc%2fpasswd", "faceset_001", "0123456789ab", "%00", "", "0123456789AB",
    "0123456789ab/0001.png", "0123456789abc"])
def test_a_face_is_asked_for_by_its_key_and_nothing_else(client: Client, name: str) -> None:
    client.enter()
    assert client.ask("GET", f"/face/{name}")[0] == 404 and client.ask("GET", f"/photo/{name}")[0] == 404
    assert client.ask("GET", f"/{name}")[0] in (200, 404)


def test_faces_and_photos_are_pictures(client: Client) -> None:
    face = client.enter().now()["question"]["faces"][0]["id"]
    for kind in ("face", "photo"):
        status, headers, data = client.ask("GET", f"/{kind}/{face}")
        assert (status, headers["content-type"], data[8:12]) == (200, "image/webp", b"WEBP")


@pytest.mark.parametrize(("server", "link"), [
    ("https://photos.example.org/", "https://photos.example.org/photos/an-asset"), ("javascript:alert(1)//", "")])
def test_a_face_links_to_its_asset_in_immich(lab: Any, server: str, link: str) -> None:
    served = lab.serve()
    client, held = Client(served.link).enter(), served.holdings
    face = client.now()["question"]["faces"][0]["id"]
    held.faces[face] = replace(held.faces[face], asset_id="an-asset")
    held.servers["an-asset"] = server
    assert client.now()["question"]["faces"][0]["link"] == link


def test_a_huge_body_is_refused_before_it_is_read(client: Client) -> None:
    client.enter()
    status, _, _ = client.ask("POST", "/answer", b"[" * 70_000)
    assert status == 413
    assert client.now()["version"] == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"[" * 60_000, b'{"version": 0}', b"\xff\xfe", b"null",
                                  b'{"version": 0, "question": "x", "answer": {"do": "drop", "of": "faceset_999"}}'])
def test_what_is_no_answer_changes_nothing(lab: Any, client: Client, body: bytes) -> None:
    client.enter()
    assert client.ask("POST", "/answer", body)[0] in (400, 409)
    assert client.now()["version"] == 0 and len(lab.library.canonical()) == 7


def test_of_two_tabs_the_one_that_is_behind_is_told(lab: Any, client: Client) -> None:
    client.enter()
    shown = client.now()
    sent = json.dumps({"version": shown["version"], "question": shown["question"]["id"],
                       "answer": {"do": "drop", "of": "faceset_007"}}).encode()
    assert client.ask("POST", "/answer", sent)[0] == 200
    status, _, told = client.ask("POST", "/answer", sent)
    assert status == 409 and json.loads(told)["version"] == shown["version"] + 1
    lab.close()
    assert len(lab.library.canonical()) == 6


def test_it_ends_when_nobody_asks_and_carries_out_what_was_said(lab: Any) -> None:
    time = [0.0]
    client = Client(lab.serve(idle=60, clock=lambda: time[0]).link).enter()
    assert client.answer({"do": "drop", "of": "faceset_007"}) == 200
    time[0] = 61.0
    thread = lab.opened[0][1]
    thread.join(LIMIT)
    assert not thread.is_alive() and len(lab.library.canonical()) == 6


def start(lab: Any, env: dict[str, str] | None = None) -> tuple[subprocess.Popen[str], str]:
    """A review as the command; with `env`, in which it finds its browser, it opens one."""
    place = lab.library.root.parent
    run = subprocess.Popen([sys.executable, CHECKOUT / "sort_faces.py", "review", *([] if env else ["--no-open"]),
                            "--json", "--data-root", place / "work", "--library", lab.library.root],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    assert run.stdout
    line = run.stdout.readline()
    return run, json.loads(line)["review"] if line else ""


def test_of_two_reviewers_the_second_is_told_who_is_first(lab: Any) -> None:
    first, link = start(lab)
    second, none = start(lab)
    assert second.wait(LIMIT) == 2 and not none and second.stderr
    assert f"sort_faces.py review (process {first.pid}" in second.stderr.read()
    assert Client(link).enter().answer({"do": "two-people", "of": "faceset_001", "other": "faceset_002"}) == 200
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=LIMIT)
    assert lab.library.manifest().two_people == [["faceset_001", "faceset_002"]]


def test_a_kill_loses_nothing_that_was_said(lab: Any) -> None:
    run, link = start(lab)
    client = Client(link).enter()
    for number, word in ((5, "Emil"), (6, "Finn"), (2, "Bea")):
        assert client.answer({"do": "name", "of": f"faceset_{number:03d}", "name": word}) == 200
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=LIMIT)
    again, _ = start(lab)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=LIMIT)
    names = {entry.folder: entry.name for entry in lab.library.manifest().facesets}
    assert (names["faceset_005"], names["faceset_006"], names["faceset_002"]) == ("Emil", "Finn", "Bea")
    assert [run["verb"] for run in lab.library.manifest().runs].count("name") == 3


class Dying(Holdings):
    """Killed when the `at`-th of what was said is carried out: before anything is done of it, or once it is committed.

    Committed, and not noted.
    """

    at, before, count = 0, False, 0
    ready: threading.Event      # all is said

    def carry(self, name: str, answer: Answer) -> str:
        return self._struck(lambda: super(Dying, self).carry(name, answer))

    def undo(self, name: str) -> None:
        self._struck(lambda: super(Dying, self).undo(name))

    def _struck(self, act: Callable[[], Any]) -> Any:
        self.count += 1
        if self.count == self.at:
            assert self.ready.wait(LIMIT)
            if self.before:
                die()
        found = act()
        if self.count == self.at:
            die()
        return found


def carried_out(desk: Desk) -> bool:
    """Wait until everything is carried out; whether it is."""
    with desk.changed:
        return desk.changed.wait_for(lambda: not desk.waiting(), LIMIT)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(lab: Any, at: int = 1, before: bool = False) -> tuple[Desk, threading.Event]:
    held = Dying(lab.library, [lab.faces], [lab.made], [], OPTIONS)
    held.at, held.before, held.ready = at, before, threading.Event()
    return Desk(lab.library.root / NAME, held), held.ready


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_whatever_a_kill_kept_from_being_noted_is_done_once_and_the_review_starts_again(
        lab: Any, at: int, before: bool, settled: bool) -> None:
    """Killed in the name, in the split, in the name of what it made, and in the undo of that."""
    faces = [face for face, who in lab.truth.items() if who == "Dora"][:2]

    def review() -> None:
        desk, ready = dying(lab, at, before)
        for number, answer in enumerate(({"do": "name", "of": "faceset_004", "name": "Cleo"},
                                         {"do": "split", "of": "faceset_004", "faces": faces},
                                         {"do": "name", "of": "new 1", "name": "Dora"}, {}), 1):
            if answer:
                desk.say(answer, "", desk.version)
            elif at == number:
                desk.undo(desk.version)
            if settled and number < at:
                assert carried_out(desk)
        ready.set()
        carried_out(desk)
    assert killed(review, 0)
    desk = lab.desk()
    assert not desk.problem and not (lab.library.root / NAME).exists()
    assert [run["verb"] for run in lab.library.manifest().runs][1:] == ["name", "split", *["name"] * (at < 4)]
    assert lab.library.manifest().entry("faceset_004").name == "Cleo"
    assert lab.library.manifest().entry("faceset_008").name == ("Dora" if at < 4 else "")
    desk.end()


def test_what_fails_keeps_no_answer_behind_it_from_being_carried_out(lab: Any) -> None:
    """A disk that is full when an end is noted, also that of an answer that fails in a way that nobody foresaw."""
    class Struck(Holdings):
        def carry(self, name: str, answer: Answer) -> str:
            if answer["of"] == "faceset_003":
                raise ZeroDivisionError("nobody foresaw it")
            return super().carry(name, answer)
    noted = []

    def full(event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and str(given[0]).endswith(NAME) and threading.current_thread().name == "review":
            noted.append(event)
            if len(noted) in (1, 3):
                raise OSError(errno.ENOSPC, "No space left on device")

    def review() -> None:
        desk = Desk(lab.library.root / NAME, Struck(lab.library, [lab.faces], [lab.made], [], OPTIONS))
        sys.addaudithook(full)
        for number in (2, 3, 4):
            desk.say({"do": "name", "of": f"faceset_{number:03d}", "name": f"name {number}"}, "", desk.version)
        assert carried_out(desk) and "nobody foresaw it" in desk.problem
        desk.end()
        assert len(noted) == 5
    assert not killed(review, 0)
    assert [entry.name for entry in lab.library.manifest().facesets[1:4]] == ["name 2", "", "name 4"]
    assert [run["verb"] for run in lab.library.manifest().runs][1:] == ["name", "name"]


def test_an_answer_that_the_disk_took_half_of_spoils_no_other(lab: Any) -> None:
    def review() -> None:
        desk = lab.desk()
        desk.end()      # nobody carries anything out
        desk.say({"do": "name", "of": "faceset_002", "name": "Bea"}, "", desk.version)
        most = (lab.library.root / NAME).stat().st_size + 9
        with full.disk(most), pytest.raises(OSError, match="No space"):
            desk.say({"do": "name", "of": "faceset_003", "name": "Bob"}, "", desk.version)
        desk.say({"do": "name", "of": "faceset_004", "name": "Cleo"}, "", desk.version)
        die()
    assert killed(review, 0)
    lab.desk().end()
    assert [entry.name for entry in lab.library.manifest().facesets[1:4]] == ["Bea", "", "Cleo"]


@pytest.mark.parametrize("back", [False, True])
def test_what_was_done_and_not_noted_is_not_done_again_whatever_came_between(lab: Any, back: bool) -> None:
    def review() -> None:
        desk, ready = dying(lab)
        desk.say({"do": "drop", "of": "faceset_005"}, "", desk.version)
        ready.set()
        carried_out(desk)
    assert killed(review, 0)
    assert not lab.library.manifest().entry("faceset_005")
    if back:
        Library(lab.library.root).undo()
    for name in ("Finn", "Fin"):
        with changing(lab.library, "name") as run:
            edit.name(run, "faceset_006", name)
    desk = lab.desk()
    desk.end()
    assert not desk.problem and bool(lab.library.manifest().entry("faceset_005")) == back
    assert [run["verb"] for run in lab.library.manifest().runs][1:] == ["drop"] * (not back) + ["name", "name"]


def test_an_undo_that_another_command_was_asked_for_is_not_taken_for_the_one_of_the_page(lab: Any) -> None:
    """`sort_faces.py undo` was killed when it had taken its run back: the page takes back its own all the same."""
    desk = lab.desk()
    for number, name in ((5, "Emil"), (6, "Finn")):
        desk.say({"do": "name", "of": f"faceset_{number:03d}", "name": name}, "", desk.version)
    assert carried_out(desk)
    with changing(lab.library, "drop") as run:
        edit.drop(run, "faceset_007", "")
    assert killed(lambda: Library(lab.library.root).undo(lambda verb, kept: die()), 0)
    desk.library.undo(desk.past[-1].run)
    desk.end()
    assert [entry.name for entry in lab.library.manifest().facesets[4:]] == ["Emil", "", ""]


def test_an_end_that_is_noted_twice_and_ctrl_c_while_another_command_is_at_work_lose_nothing(lab: Any) -> None:
    run, link = start(lab)
    client = Client(link).enter()
    assert client.answer({"do": "drop", "of": "faceset_004"}) == 200
    wait_until(lambda: not client.now()["waiting"], "the answer is carried out")
    with Library(lab.library.root).locked("sort_faces.py extend"):
        assert client.ask("POST", "/undo", json.dumps({"version": client.now()["version"]}).encode())[0] == 200
        run.send_signal(signal.SIGINT)
        assert "the next review does that first" in run.communicate(timeout=LIMIT)[1]
    with open(lab.library.root / NAME, "a") as said:
        said.write('{"n": 1, "ended": true}\n{"n": 1, "ended": true}\n')
    lab.desk().end()
    assert lab.library.manifest().entry("faceset_004")


def test_a_library_that_is_out_of_reach_for_a_moment_is_waited_for_and_nothing_is_made_in_its_place(lab: Any) -> None:
    root, aside = lab.library.root, lab.library.root.with_name("aside")
    server = lab.serve()
    client = Client(server.link).enter()
    with Library(root).locked("sort_faces.py extend"):
        assert client.answer({"do": "name", "of": "faceset_002", "name": "Bea"}) == 200
        wait_until(lambda: "at work" in client.now()["problem"], "the answer waits")
        with server.desk.changed:       # it goes on waiting until the library is away
            os.rename(root, aside)
            root.mkdir()
    wait_until(lambda: "out of reach" in client.now()["problem"], "the page says so")
    assert client.answer({"do": "name", "of": "faceset_003", "name": "Bob"}) == 400
    assert client.now()["waiting"] == 1 and client.now()["question"] and not list(root.iterdir())
    root.rmdir()
    os.rename(aside, root)
    wait_until(lambda: not client.now()["waiting"], "it is carried out")
    assert not client.now()["problem"]
    os.rename(root, aside)
    assert client.now()["question"] and client.now()["open"]
    os.rename(aside, root)
    assert client.answer({"do": "name", "of": "faceset_003", "name": "Bob"}) == 200
    lab.close()
    assert [entry.name for entry in lab.library.manifest().facesets[1:3]] == ["Bea", "Bob"]


def test_a_hundred_connections_that_say_nothing_keep_nobody_out(client: Client) -> None:
    client.enter()
    host, port = client.host.split(":")
    held = [socket.create_connection((host, int(port))) for _ in range(110)]
    assert client.now()["question"]
    for connection in held:
        connection.close()


def test_a_name_that_was_typed_by_hand_since_the_page_was_made_stays_and_is_shown(lab: Any) -> None:
    desk = lab.desk()
    (lab.library.root / "faceset_002" / "NAME.txt").write_text("Bea, by hand\n")
    desk.say({"do": "name", "of": "faceset_002", "name": "Beate"}, "", desk.version)
    assert carried_out(desk) and "is called 'Bea, by hand' since" in desk.problem
    assert desk.books.people["faceset_002"].name == "Bea, by hand"
    for name in ("Beate", "Beatrix"):
        desk.say({"do": "name", "of": "faceset_002", "name": name}, "", desk.version)
    assert carried_out(desk)
    desk.end()
    assert lab.library.manifest().entry("faceset_002").name == "Beatrix"


def test_marked_faces_go_out_of_the_library_and_what_came_since_is_not_seen(lab: Any) -> None:
    held = lab.holdings()
    books = held.read()
    wrong, *rest = books.people["faceset_005"].faces
    said = {name: held.whole(answers.read(books, {"of": "faceset_005", "out": [wrong], **answer})) for name, answer in {
        "merge": {"do": "merge", "into": "faceset_002"}, "right": {"do": "right"}}.items()}
    held.carry("run 1", said["merge"])
    assert len(held.read().people["faceset_002"].faces) == 15
    assert lab.library.manifest().not_this == {"faceset_002": [said["merge"]["out"][0]]}
    held.undo("run 1")
    with changing(lab.library, "consolidate") as run:
        consolidate.merge(run, "faceset_005", ["faceset_006"], OPTIONS)
    held.carry("run 2", said["right"])
    person = held.read().people["faceset_005"]
    assert len(person.faces) == 15 and person.seen == frozenset(rest)


def test_what_another_command_did_meanwhile_is_what_the_page_shows(lab: Any, client: Client) -> None:
    client.enter()
    assert client.answer({"do": "drop", "of": "faceset_007"}) == 200
    wait_until(lambda: not client.now()["waiting"], "the answer is carried out")
    before = client.now()
    assert (before["version"], before["back"]) == (1, 1)        # our own runs are no news
    Library(lab.library.root).undo()
    shown = client.now()
    assert (shown["version"], shown["back"]) == (2, 0)
    assert client.answer({"do": "name", "of": "faceset_007", "name": "Jo"}) == 200
    wait_until(lambda: not client.now()["waiting"], "the answer is carried out")
    with changing(lab.library, "name") as run:
        edit.name(run, "faceset_001", "Ada")
    sent = json.dumps({"version": 3, "question": "", "answer": {"do": "drop", "of": "faceset_001"}}).encode()
    assert client.ask("POST", "/answer", sent)[0] == 409
    assert client.now()["names"] == {"Ada": "faceset_001", "Jo": "faceset_007"}


def test_a_browser_in_the_terminal_is_not_opened_and_a_window_that_stays_open_keeps_nobody_waiting(
        lab: Any, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    for program in ("www-browser", "lynx", "w3m", "xdg-open"):
        script = tmp_path / "bin" / program
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\necho "$1" > {opened}.{program}\nexec sleep 600\n')
        script.chmod(0o755)
    plain = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    for screen, found in (({}, []), ({"DISPLAY": ":0"}, ["opened.xdg-open"])):
        run, link = start(lab, env={**plain, "PATH": path, **screen})
        assert Client(link).enter().now()["question"]
        if found:
            wait_until((tmp_path / found[0]).exists, "the window is opened")
        assert sorted(file.name for file in tmp_path.glob("opened.*")) == found
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=LIMIT)
