"""immich-names: names and albums on a real server on this machine, staged by the real stage; kills, resets, undo."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from busy import LIMIT, wait_until
from drawn import OPTIONS, contents, library_photos, proposal_of
from immich_lab.routes_people import Album
from immich_lab.server import LabServer
from stage_lab import CHECKOUT, Lab
from test_stage_contract import CONTRACTS, described, taken

import sort_faces
from facesets.export import swap
from facesets.fake_immich.library_model import Asset, Person
from facesets.fake_immich.protocol import ApiError, Call, Reply
from facesets.formats import cache
from facesets.immich.breaker import Breaker
from facesets.immich.client import Access, Client
from facesets.immich.writing import ALBUMS, NAMES, Writer
from facesets.library import folder as folders
from facesets.library import journal
from facesets.library.store import Library
from facesets.operations.immich_names import Row

EACH = 7        # photos
ANNA, EMOJI = "Änna", "Bob 👩‍🚀 <i>"


class World:
    """Three people with some photos each, in the library and on the server, whom nobody named there."""

    def __init__(self, folder: Path, faces: cache.Cache, version: tuple[int, int, int]) -> None:
        self.lab, self.label = Lab(folder, version), "peter"
        self.faces, self.library = faces, Library(folder / "library")
        self.assets: dict[str, list[Asset]] = {}
        for row in self.faces.faces:
            photo = self.faces.photos[row["photo"]]
            self.assets.setdefault(Path(photo.path).parent.name, []).append(self.lab.server.add_asset(
                self.lab.user, Path(photo.path).read_bytes(), name=Path(photo.path).name, taken=photo.taken_at))
        self.people: list[Person] = []
        self.recognise()
        self.key, self.stages = self.lab.server.add_key(self.lab.user, NAMES), ""

    def become(self, label: str) -> None:
        """Another account, which has the same photos."""
        server, self.label, self.people = self.lab.server, label, []
        self.lab.user = server.add_user(label)
        self.lab.key = server.add_key(self.lab.user)
        self.assets = {who: [server.add_asset(self.lab.user, asset.content, name=asset.name, taken=asset.taken)
                             for asset in assets] for who, assets in self.assets.items()}
        self.recognise()

    def recognise(self, jitter: int = 0) -> None:
        """Immich finds every face anew: no face and no person is who they were."""
        server = self.lab.server
        for person in self.people:
            server.delete_person(person)
        self.people = [server.add_person(self.lab.user) for _ in self.assets]
        for person, assets in zip(self.people, self.assets.values(), strict=True):
            for number, asset in enumerate(assets):
                box = [200 + jitter, 120 - jitter, 360 + number + jitter, 280 + number - jitter]
                asset.faces = []
                server.library.add_face(asset, server.face(box, 640, 480, person))

    def stage(self) -> None:
        run = self.lab.stage(user=self.label)
        assert run.status == 0, run.err

    def environment(self) -> dict[str, str]:
        return {**self.lab.environment(), "IMMICH_API_KEY": self.stages, "IMMICH_WRITE_API_KEY": self.key,
                "FACESETS_LIBRARY": str(self.library.root)}

    def run(self, *words: str) -> tuple[int, Any, str]:
        """sort_faces.py with --json: its status, its answer, and what it said."""
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.dict(os.environ, self.environment()), contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(err):
            status = sort_faces.main([*words, "--json"])
        return status, json.loads(out.getvalue() or "null"), err.getvalue()

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(CHECKOUT / "sort_faces.py"), *words, "--json"], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, **self.environment()})

    def names(self, *flags: str) -> dict[str, str]:
        """Folder -> what became of it."""
        status, plan, err = self.run("immich-names", "--user", self.label, *flags)
        assert status == 0, err
        return {row["folder"]: row["verdict"] for row in plan["rows"]}

    @property
    def called(self) -> list[str]:
        return [person.name for person in self.people]

    def writes(self) -> list[str]:
        return [f"{one.method} {one.path.split('/')[2]}" for one in self.lab.server.log
                if one.method not in ("GET", "POST") or (one.path == "/api/albums" and one.method == "POST")]

    def albums(self) -> dict[str, set[str]]:
        return {album.name: set(album.assets) for album in self.lab.server.library.albums.values()}

    def ids(self, who: str) -> set[str]:
        return {asset.id for asset in self.assets[who]}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, cache.Cache]:
    """Facesets of three people, two of them with a name, and their cache; a test takes a copy."""
    place = tmp_path_factory.mktemp("template")
    faces = library_photos(place / "drawn", [1, 2, 3], EACH, user="peter")
    cache.write(place / "here" / "work" / "cache" / "immich_peter.npz", faces)
    swap.export(Library(place / "here" / "library"), proposal_of(faces), [faces], OPTIONS)
    for words in (("1", ANNA), ("2", EMOJI)):
        assert sort_faces.main(["name", *words, "--library", str(place / "here" / "library"),
                                "--data-root", str(place / "here" / "work")]) == 0
    return place / "here", faces


@pytest.fixture(params=[(2, 7, 2), (3, 1, 0), (3, 3, 5)], ids=lambda version: ".".join(map(str, version)))
def world(request: pytest.FixtureRequest, template: tuple[Path, cache.Cache], tmp_path: Path) -> Iterator[World]:
    yield from opened(template, tmp_path, request.param)


@pytest.fixture
def small(template: tuple[Path, cache.Cache], tmp_path: Path) -> Iterator[World]:
    """The same, as 3.1 only."""
    yield from opened(template, tmp_path, (3, 1, 0))


def opened(template: tuple[Path, cache.Cache], folder: Path, version: tuple[int, int, int]) -> Iterator[World]:
    shutil.copytree(template[0], folder, dirs_exist_ok=True)
    made = World(folder, template[1], version)
    with made.lab.server:
        made.stage()
        made.lab.server.log.clear()
        yield made


def test_nothing_is_sent_without_apply(small: World) -> None:
    before = contents(small.library.root)
    assert small.names() == {"faceset_001": "gets the name", "faceset_002": "gets the name"}
    assert small.called == ["", "", ""] and small.writes() == [] and contents(small.library.root) == before
    assert journal.history(small.library.root)[-1].name.endswith("-name")


def test_names_go_there_and_undo_takes_them_back(world: World) -> None:
    before = contents(world.library.root)
    assert set(world.names("--apply").values()) == {"got the name"}
    assert world.called == [ANNA, EMOJI, ""] and world.writes() == ["PUT people"] * 2
    assert set(world.names("--apply").values()) == {"has the name"} and len(world.writes()) == 2
    world.people[0].name = ""       # taken away there: it is sent again, which is no run of the library
    again = world.run("immich-names", "--user", "peter", "--apply")[1]
    assert again["given"] == 1 and not again["noted"], "undo would take back another run"
    status, told, err = world.run("undo")
    assert status == 0 and told["undone"] == "immich-names" and told["in_immich"] == [], err
    assert world.called == ["", "", ""] and contents(world.library.root) == before


def test_a_name_that_was_given_anew_is_taken_back_by_the_undo_of_that_run(small: World) -> None:
    """Renamed here, and cleared there, between two runs."""
    small.names("--apply")
    assert small.run("name", "1", "Anne")[0] == 0
    small.people[0].name = ""
    assert small.names("--apply")["faceset_001"] == "got the name" and small.called == ["Anne", EMOJI, ""]
    assert small.run("undo")[1]["undone"] == "immich-names" and small.called == ["", EMOJI, ""]


def test_who_is_deleted_there_meanwhile_is_named_and_the_others_go_on(small: World) -> None:
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    server, answer = small.lab.server, small.lab.server.route

    def route(call: Call) -> Reply:
        if call.method == "PUT" and call.path == f"/api/people/{small.people[0].id}":
            server.delete_person(small.people[0])
        if call.method == "PUT" and call.path.startswith("/api/albums") and len(server.library.albums) == 2:
            del server.library.albums[call.path.split("/")[3]]
        return answer(call)
    server.route = route
    status, plan, err = small.run("immich-names", "--user", "peter", "--apply", "--albums")
    assert status == 1 and plan["given"] == 1 and small.people[1].name == EMOJI, err
    assert [line.partition(":")[0] for line in plan["failed"]] == [f"faceset_001  {ANNA}", f"faceset_002  {EMOJI}"]
    assert small.albums() == {ANNA: small.ids("p001")}
    server.route = answer
    small.names("--apply", "--albums")
    assert small.albums() == {ANNA: small.ids("p001"), EMOJI: small.ids("p002")}


def test_a_name_that_is_there_stays(small: World) -> None:
    small.people[0].name, small.people[1].name = "Anna there", EMOJI
    assert small.names("--apply") == {"faceset_001": "is called Anna there there, and stays so",
                                      "faceset_002": "has the name"}
    assert small.called == ["Anna there", EMOJI, ""] and small.writes() == []


def test_somebody_who_was_named_meanwhile_keeps_that_name(small: World) -> None:
    answer = small.lab.server.route

    def route(call: Call) -> Reply:
        if call.method == "PUT":        # while the first name arrives, Immich's owner gives the second person another
            small.people[1].name = "Robert"
        return answer(call)
    small.lab.server.route = route
    assert small.names("--apply") == {"faceset_001": "got the name",
                                      "faceset_002": "is called Robert there, and stays so"}
    status, told, err = small.run("undo")
    assert status == 0 and small.called == ["", "Robert", ""], err
    assert told["in_immich"] == ["faceset_002: Immich calls that person Robert by now, and that stays"]


def hold(world: World, path: str, method: str, *flags: str, skip: int = 0) -> None:
    """immich-names --apply, killed when one such request is carried out and not answered."""
    world.lab.server.log.clear()
    world.lab.server.faults.add("stall", path, method=method, at=0.0, seconds=LIMIT, times=1, skip=skip)
    process = world.start("immich-names", "--user", "peter", "--apply", *flags)
    wait_until(lambda: process.poll() is not None or any(
        one.fault == "stall" and one.status for one in world.lab.server.log), f"{method} {path}")
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()


@pytest.mark.parametrize("first", range(3))
def test_a_kill_between_any_request_and_its_answer_loses_nothing(small: World, first: int) -> None:
    """Every third request is carried out, and its answer never heard; then the same command again, or undo at once."""
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    before = contents(small.library.root)
    small.names("--apply", "--albums")
    done, asked = contents(small.library.root), len(small.lab.server.log)
    assert small.run("undo")[0] == 0 and small.albums() == {} and contents(small.library.root) == before
    for place in range(first, asked, 3):
        hold(small, "*", "*", "--albums", skip=place)
        small.lab.server.faults.clear()
        committed = [folder.name for folder in (small.library.root / journal.PENDING).glob("*/phase")
                     if folder.read_text() == "done"]
        if not committed:
            assert small.writes() == [], "noted before it is sent"
        if not committed or place % 2:
            small.names("--apply", "--albums")
            assert small.called == [ANNA, EMOJI, ""] and contents(small.library.root).keys() == done.keys()
            assert small.albums() == {ANNA: small.ids("p001"), EMOJI: small.ids("p002")}
            assert len(small.lab.server.library.albums) == 2
        status, told, err = small.run("undo")
        assert status == 0 and told["undone"] == "immich-names", err
        assert small.called == ["", "", ""] and small.albums() == {} and contents(small.library.root) == before


@pytest.mark.parametrize("place", range(2))
def test_an_undo_after_a_kill_while_albums_are_made_takes_them_back(small: World, place: int) -> None:
    """And not the run before."""
    small.key, before = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS)), contents(small.library.root)
    hold(small, "/api/albums", "POST", "--albums", skip=place)
    small.lab.server.faults.clear()
    assert len(small.albums()) == place + 1
    assert small.run("undo", "--dry-run")[1]["would_take_back"] == ["immich-names"]
    status, told, err = small.run("undo")
    assert status == 0 and told == {"undone": "immich-names", "kept": [], "in_immich": []}, err
    assert small.albums() == {} and small.called == ["", "", ""] and contents(small.library.root) == before


def test_photos_that_a_kill_kept_from_leaving_an_album_leave_it_later_and_undo_puts_them_back(small: World) -> None:
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    small.names("--apply", "--albums")
    assert small.run("not-this", "1", "0001.png")[0] == 0
    small.lab.server.faults.add("status", "/api/albums/*/assets", method="DELETE", status=503)
    assert small.run("immich-names", "--user", "peter", "--apply", "--albums")[0] == 2
    small.lab.server.faults.clear()
    assert small.albums()[ANNA] == small.ids("p001")
    small.names("--apply", "--albums")
    assert len(small.albums()[ANNA]) == EACH - 1
    assert small.run("undo")[1] == {"undone": "immich-names", "kept": [], "in_immich": []}
    assert small.albums()[ANNA] == small.ids("p001") and small.run("undo")[1]["undone"] == "not-this"


def test_a_library_made_anew_at_the_same_place_leaves_the_albums_of_the_old_one_alone(small: World) -> None:
    """Or one on another machine."""
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    small.names("--apply", "--albums")
    old = {album.id: set(album.assets) for album in small.lab.server.library.albums.values()}
    os.rename(small.library.root, small.library.root.with_name("old"))
    swap.export(small.library, proposal_of(small.faces), [small.faces], OPTIONS)
    assert small.run("name", "1", EMOJI)[0] == small.run("name", "2", ANNA)[0] == 0
    small.names("--apply", "--albums")
    made = small.lab.server.library.albums
    assert len(made) == 4 and {number: set(made[number].assets) for number in old} == old
    assert small.run("undo")[0] == 0 and {album.id: set(album.assets) for album in made.values()} == old


def test_an_undo_with_a_key_that_may_not_change_albums_changes_nothing(small: World) -> None:
    small.key, poor = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS)), small.key
    small.names("--apply", "--albums")
    after, small.key = contents(small.library.root), poor
    small.lab.server.log.clear()
    status, _, err = small.run("undo")
    assert status == 77 and "album.delete" in err and small.writes() == [] and contents(small.library.root) == after


def test_an_undo_says_of_whom_nobody_is_left_there(small: World) -> None:
    small.names("--apply")
    small.lab.server.delete_person(small.people[0])
    assert small.run("undo")[1]["in_immich"] == [
        f"faceset_001: that person is not in Immich any more, so {ANNA} is not taken back there"]


def test_an_undo_that_is_killed_goes_on(small: World) -> None:
    before = contents(small.library.root)
    small.names("--apply")
    small.lab.server.faults.add("stall", f"/api/people/{small.people[1].id}", method="PUT", at=0.0, seconds=LIMIT)
    process = small.start("undo")
    wait_until(lambda: process.poll() is not None or small.called == ["", "", ""], "the second name to be taken back")
    process.kill()
    process.communicate()
    small.lab.server.faults.clear()
    status, told, err = small.run("undo")
    assert status == 0 and told["undone"] == "immich-names", err
    assert small.called == ["", "", ""] and contents(small.library.root) == before


@pytest.mark.parametrize("kind", ["stop", "status", "html"])
def test_a_write_whose_answer_is_lost_is_repeated(small: World, kind: str) -> None:
    small.lab.server.faults.add(kind, "/api/people/*", method="PUT", at=0.0, every=2, times=2)
    assert set(small.names("--apply").values()) == {"got the name"} and small.called == [ANNA, EMOJI, ""]


def test_a_server_that_goes_away_is_a_pause_and_the_same_command_goes_on(small: World) -> None:
    small.lab.server.faults.add("status", f"/api/people/{small.people[1].id}", method="PUT", status=503)
    status, _, err = small.run("immich-names", "--user", "peter", "--apply")
    assert status == 2 and "the same command goes on" in err and small.called == [ANNA, "", ""]
    small.lab.server.faults.clear()
    assert set(small.names("--apply").values()) == {"has the name", "got the name"}
    assert small.run("undo")[0] == 0 and small.called == ["", "", ""]


def test_a_run_whose_server_is_gone_for_good_can_be_undone_here(small: World) -> None:
    """And with it the runs before it."""
    small.names("--apply")
    small.lab.server.down()
    before = contents(small.library.root)
    status, _, err = small.run("undo")
    assert status == 2 and "gone for good: undo --without-immich" in err and contents(small.library.root) == before
    assert small.run("undo", "--without-immich")[1] == {"undone": "immich-names", "kept": [], "in_immich": [
        "what it wrote to Immich stays there, and nothing here knows of it any more"]}
    assert small.run("undo", "--without-immich")[1] == {"undone": "name", "kept": [], "in_immich": []}
    small.lab.server.up()
    assert small.called == [ANNA, EMOJI, ""]


def test_after_a_reset_of_face_recognition_the_people_get_their_names_again(world: World) -> None:
    world.names("--apply")
    world.recognise(jitter=6)
    assert world.called == ["", "", ""]
    status, _, err = world.run("immich-names", "--user", "peter", "--apply")
    assert status == 77 and "python immich_stage.py --user peter" in err and world.called == ["", "", ""]
    world.stage()
    assert set(world.names("--apply").values()) == {"got the name"}
    assert world.called == [ANNA, EMOJI, ""]
    assert world.run("undo")[0] == 0 and world.called == ["", "", ""]


def test_an_album_says_whose_it_is(small: World) -> None:
    """So that one which another user of this library shares with Peter is not taken for his."""
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    small.names("--apply", "--albums")
    said = [album.description for album in small.lab.server.library.albums.values()]
    assert [text.partition(", by face-sets, ")[0] for text in said] == [
        "faceset_001 of peter", "faceset_002 of peter"]


def test_an_id_that_is_none_is_no_path(small: World) -> None:
    queue = small.lab.user_dir / "queue.json"
    queue.write_text(queue.read_text().replace(small.people[0].id, "../users/me?x="))
    assert small.names()["faceset_001"] == "not there any more, stage again"
    assert {one.path for one in small.lab.server.log if "users" in one.path} == set()


def test_a_face_that_no_faceset_has_counts_by_its_embedding(small: World) -> None:
    """Anna's faceset was made of three of her photos; in Immich only the others show somebody."""
    whole = proposal_of(small.faces)
    three = replace(whole, facesets=tuple(replace(group, faces=group.faces[:3]) for group in whole.facesets))
    small.library = Library(small.library.root.with_name("fresh"))
    swap.export(small.library, three, [small.faces], OPTIONS, min_faces=3)
    for asset in small.assets["p001"][:3]:
        asset.faces = []
    small.stage()
    assert small.run("name", "1", ANNA)[0] == 0
    assert small.names() == {"faceset_001": "gets the name"}


def test_two_facesets_of_one_person_there_are_unclear_unless_they_share_the_name(small: World) -> None:
    for asset in small.assets["p002"]:
        asset.faces[0].person = small.people[0]
    small.stage()
    verdicts = small.names("--apply")
    assert verdicts["faceset_001"] == f"unclear, that person there is also {EMOJI}" and small.writes() == []
    assert small.run("name", "2", ANNA)[0] == 0
    assert sorted(small.names("--apply").values()) == ["got the name", "has the name"]
    assert small.called == [ANNA, "", ""] and small.run("undo")[0] == 0 and small.called == ["", "", ""]


def test_of_three_people_for_one_faceset_the_one_with_most_faces_gets_the_name(small: World) -> None:
    others = [small.lab.server.add_person(small.lab.user) for _ in range(2)]
    for asset, person in zip(small.assets["p001"], [*others, *others], strict=False):
        asset.faces[0].person = person
    small.stage()
    plan = small.run("immich-names", "--user", "peter", "--apply")[1]
    assert plan["rows"][0] == {"folder": "faceset_001", "name": ANNA, "person": small.people[0].id, "faces": EACH - 4,
                               "of": EACH, "people": 3, "verdict": "got the name"}
    assert small.people[0].name == ANNA and [person.name for person in others] == ["", ""]
    assert Row(**plan["rows"][0]).line("URL") == (
        f"faceset_001  {ANNA}  got the name; 3 of 7 faces, the rest of 2 more: URL/people/{small.people[0].id}")


def test_the_wrong_key_and_a_key_without_permission_are_refused(small: World) -> None:
    olga = small.lab.server.add_user("Olga")
    stranger, poor = small.lab.server.add_key(olga, NAMES), small.lab.server.add_key(small.lab.user, ("person.read",))
    for key, status, said in ((stranger, 77, "is IMMICH_WRITE_API_KEY that of peter?"),
                              ("nonsense", 77, "Invalid API key"), (poor, 77, "lacks the permission person.update"),
                              ("", 78, "a key of its own with person.read and person.update")):
        small.key = key
        ended, _, err = small.run("immich-names", "--user", "peter", "--apply")
        assert ended == status and said in err and small.lab.key not in err
    small.key = small.lab.server.add_key(small.lab.user, NAMES)
    ended, _, err = small.run("immich-names", "--user", "peter", "--albums")
    assert ended == 77 and "album.create" in err
    ended, _, err = small.run("immich-names", "--user", "olga")
    assert ended == 1 and "immich_stage.py" in err
    small.key, small.stages = "", small.lab.server.add_key(small.lab.user)      # which might write
    ended, _, err = small.run("immich-names", "--user", "peter", "--apply")
    assert ended == 78 and "a key of its own" in err
    assert small.stages not in [one.headers.get("x-api-key") for one in small.lab.server.log]
    assert small.called == ["", "", ""] and small.writes() == []


def test_the_key_that_writes_is_in_no_file_no_output_and_goes_to_no_other_host(small: World) -> None:
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    outputs = [small.run("immich-names", "--user", "peter", "--apply", "--albums")]
    with LabServer((3, 1, 0)) as other:
        small.lab.server.faults.add("redirect", "/api/people/*", location=f"{other.url}/api/people/x")
        outputs.append(small.run("undo"))
        assert outputs[-1][0] == 2 and "where the key is not sent" in outputs[-1][2] and other.log.find("*") == []
    small.lab.server.faults.clear()
    outputs.append(small.run("undo"))
    assert outputs[-1][0] == 0 and small.key not in str(outputs)
    files = [path for path in small.lab.folder.rglob("*") if path.is_file()]
    assert files and [path for path in files if small.key.encode() in path.read_bytes()] == []


def test_where_the_last_stage_saw_no_person_the_key_itself_must_tell_whose_it_is(small: World) -> None:
    """Another account would get an empty album of each faceset."""
    for asset in (asset for assets in small.assets.values() for asset in assets):
        asset.faces[0].person = None
    small.stage()
    server, olga = small.lab.server, small.lab.server.add_user("Olga")
    words = ("immich-names", "--user", "peter", "--albums", "--apply")
    for user, permissions, said in ((olga, (*NAMES, *ALBUMS), "give that key user.read as well"),
                                    (small.lab.user, (*NAMES, *ALBUMS), "give that key user.read as well"),
                                    (olga, ("all",), "belongs to olga@example.org, peter is another user"),
                                    (olga, (*NAMES, *ALBUMS, "user.read"), "belongs to olga@example.org")):
        small.key = server.add_key(user, permissions)
        for tried in (words, words[:-1], ("immich-names", "--user", "peter")):
            status, plan, err = small.run(*tried)
            assert (status, plan, err.count("\n")) == (77, None, 1) and said in err, err
        assert server.library.albums == {} and small.writes() == []
    small.key = server.add_key(small.lab.user, (*NAMES, *ALBUMS, "user.read"))
    small.names("--apply", "--albums")
    assert small.albums() == {ANNA: small.ids("p001"), EMOJI: small.ids("p002")}
    small.key, before = server.add_key(olga, (*NAMES, *ALBUMS, "user.read")), contents(small.library.root)
    assert small.run("undo")[0] == 77 and contents(small.library.root) == before and len(small.albums()) == 2
    small.key = server.add_key(small.lab.user, (*NAMES, *ALBUMS, "user.read"))
    status, told, err = small.run("undo")
    assert status == 0 and told["in_immich"] == [] and small.albums() == {}, err


def test_a_queue_of_an_earlier_version_does_not_say_whose_it_is(small: World) -> None:
    """Its people do; where it has none, the stage is to be run again."""
    queue = small.lab.user_dir / "queue.json"
    value = json.loads(queue.read_text())
    assert value.pop("owner") == small.lab.user.id
    queue.write_text(json.dumps(value))
    status, plan, err = small.run("immich-names", "--user", "peter")
    assert status == 0 and {row["verdict"] for row in plan["rows"]} == {"gets the name"}
    assert "first python immich_stage.py --user peter" in err
    for face in (face for entry in value["entries"] for face in entry["faces"]):
        face["person_id"] = ""
    queue.write_text(json.dumps(value))
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, "user.read"))
    status, _, err = small.run("immich-names", "--user", "peter")
    assert status == 77 and "run python immich_stage.py --user peter" in err


def test_an_undo_says_which_album_is_gone(small: World) -> None:
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    small.names("--apply", "--albums")
    small.lab.server.library.albums.clear()
    assert small.run("undo")[1]["in_immich"] == [
        f"faceset_00{number}: its album in Immich is gone" for number in (1, 2)]


def test_a_second_user_whose_photos_are_all_known_from_the_first_gets_names_and_albums_too(world: World) -> None:
    """A family with one set of photos in each account: Maria's people, boxes, and albums are her own."""
    peters = world.people
    world.become("maria")
    world.stage()
    queue = json.loads((world.lab.root / "immich" / "maria" / "queue.json").read_text())
    assert queue["entries"] == [] and len(queue["known"]) == 3 * EACH
    world.key = world.lab.server.add_key(world.lab.user, (*NAMES, *ALBUMS))
    assert set(world.names("--apply", "--albums").values()) == {"got the name"}
    assert world.called == [ANNA, EMOJI, ""] and [person.name for person in peters] == ["", "", ""]
    assert world.albums() == {ANNA: world.ids("p001"), EMOJI: world.ids("p002")}
    world.recognise(jitter=6)
    world.stage()
    assert set(world.names("--apply").values()) == {"got the name"} and world.called == [ANNA, EMOJI, ""]
    assert [world.run("undo")[0] for _ in range(2)] == [0, 0] and world.called == ["", "", ""] and not world.albums()


def test_an_undo_with_another_users_key_undoes_nothing(small: World) -> None:
    small.names("--apply")
    after, small.key = contents(small.library.root), small.lab.server.add_key(small.lab.server.add_user("Olga"), NAMES)
    assert small.run("undo")[0] == 77
    assert small.called == [ANNA, EMOJI, ""] and contents(small.library.root) == after


def test_no_other_process_changes_the_library_meanwhile(small: World) -> None:
    answer, tried = small.lab.server.route, list[tuple[int, str]]()

    def route(call: Call) -> Reply:
        if call.method == "PUT":
            process = small.start("name", "1", "Somebody")
            _, err = process.communicate(timeout=LIMIT)
            tried.append((process.returncode, err))
        return answer(call)
    small.lab.server.route = route
    assert set(small.names("--apply").values()) == {"got the name"}
    assert [status for status, _ in tried] == [2, 2] and "sort_faces.py immich-names" in tried[0][1]


def test_a_library_with_nobody_named_asks_for_no_name(small: World) -> None:
    (small.library.root / "faceset_001" / "NAME.txt").unlink()
    (small.library.root / "faceset_002" / "NAME.txt").unlink()
    assert small.names("--apply") == {} and small.writes() == []


def test_albums_follow_the_facesets_and_undo_takes_them_back(world: World) -> None:
    world.key = world.lab.server.add_key(world.lab.user, (*NAMES, *ALBUMS))
    server, before = world.lab.server, contents(world.library.root)
    theirs = Album(server.library.new_id(), world.lab.user, ANNA)
    theirs.assets[world.assets["p003"][0].id] = world.assets["p003"][0]
    server.library.albums[theirs.id] = theirs
    world.names("--apply", "--albums")
    made = [album for album in server.library.albums.values() if album is not theirs]
    held = [(album.name, set(album.assets)) for album in made]
    assert held == [(ANNA, world.ids("p001")), (EMOJI, world.ids("p002"))]
    assert world.run("not-this", "1", "0001.png")[0] == 0
    world.names("--apply", "--albums")
    assert len(made[0].assets) == EACH - 1 and set(made[0].assets) < world.ids("p001")
    assert [world.run("undo")[1]["undone"] for _ in range(2)] == ["immich-names", "not-this"]
    assert set(made[0].assets) == world.ids("p001")
    made[1].assets[world.assets["p003"][1].id] = world.assets["p003"][1]        # by hand
    status, told, err = world.run("undo")
    assert status == 0, err
    assert told["in_immich"] == ["faceset_002: its album in Immich holds 1 other photos, and stays"]
    assert world.albums() == {ANNA: set(theirs.assets), EMOJI: {world.assets["p003"][1].id}}
    assert world.called == ["", "", ""] and contents(world.library.root) == before


def test_every_request_is_one_that_immich_takes(world: World) -> None:
    world.key = world.lab.server.add_key(world.lab.user, (*NAMES, *ALBUMS))
    world.names("--apply", "--albums")
    assert world.run("not-this", "1", "0001.png")[0] == 0
    world.names("--apply", "--albums")
    for _ in range(3):
        assert world.run("undo")[0] == 0
    requests = [one for one in world.lab.server.log if one.path.startswith(("/api/people", "/api/albums"))]
    assert {one.method for one in requests} == {"GET", "PUT", "POST", "DELETE"}
    version = ".".join(map(str, world.lab.server.version))
    document = CHECKOUT.parent / "shared" / "immich" / f"openapi-{version}.json"
    for request in requests:
        for contract in CONTRACTS.values():     # of versions that cannot be had here
            taken(contract, request)
        if document.exists():
            described(json.loads(document.read_text(encoding="utf-8")), request)


def test_more_than_a_thousand_photos_go_into_an_album_and_leave_it_by_several_requests(small: World) -> None:
    key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    writer = Writer(Client(Access(small.lab.server.url, ("x-api-key", key), may_write=True), Breaker(1),
                           threading.Event()))
    mine = sorted(small.ids("p001"))
    photos = [*mine[:1], *(str(uuid.uuid4()) for _ in range(999)), *mine[1:]]
    album = writer.make_album(ANNA, "of peter")
    assert writer.add(album, photos) == 999 and small.albums() == {ANNA: set(mine)}
    writer.remove(album, photos)
    assert small.albums() == {ANNA: set()}
    sent = [(one.method, len(one.body["ids"])) for one in small.lab.server.log if one.path.endswith("/assets")]
    assert sent == [("PUT", 1000), ("PUT", EACH - 1), ("DELETE", 1000), ("DELETE", EACH - 1)]


def test_an_album_whose_going_was_not_answered_is_gone(small: World) -> None:
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    before = contents(small.library.root)
    small.names("--apply", "--albums")
    answer, lost = small.lab.server.route, list[str]()

    def route(call: Call) -> Reply:
        reply = answer(call)
        if call.method == "DELETE" and not call.path.endswith("/assets") and call.path not in lost:
            lost.append(call.path)
            raise ApiError(500, "Internal server error")
        return reply
    small.lab.server.route = route
    status, told, err = small.run("undo")
    assert status == 0 and told["in_immich"] == [] and len(lost) == 2, err
    assert small.albums() == {} and small.called == ["", "", ""] and contents(small.library.root) == before


def test_an_album_whose_making_was_not_answered_is_found_again(small: World) -> None:
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    small.lab.server.faults.add("stop", "/api/albums", method="POST", at=0.0, times=1)
    small.names("--apply", "--albums")
    assert len(small.albums()) == len(small.lab.server.library.albums) == 2
    next(iter(small.lab.server.library.albums.values())).description = "mine now"
    small.names("--apply", "--albums")
    assert len(small.lab.server.library.albums) == 2       # by their ids
    small.lab.server.library.albums.clear()
    small.names("--apply", "--albums")
    assert small.albums() == {ANNA: small.ids("p001"), EMOJI: small.ids("p002")}


def test_of_photos_that_immich_has_no_more_there_is_no_empty_album(small: World) -> None:
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    for asset in small.assets["p001"]:
        small.lab.server.delete_asset(asset)
    for _ in range(2):
        status, plan, err = small.run("immich-names", "--user", "peter", "--apply", "--albums")
        assert status == 0 and plan["refused"] == EACH, err
        assert small.albums() == {EMOJI: small.ids("p002")}
    assert [small.run("undo")[0] for _ in range(2)] == [0, 0] and small.albums() == {}


def test_what_is_merged_or_loses_its_name_leaves_its_album(small: World) -> None:
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    small.names("--apply", "--albums")
    assert small.run("drop", "2")[0] == 0
    (small.library.root / "faceset_001" / "NAME.txt").unlink()
    small.names("--apply", "--albums")
    assert small.albums() == {ANNA: set(), EMOJI: set()}
    assert small.run("undo")[0] == 0 and small.albums() == {ANNA: small.ids("p001"), EMOJI: small.ids("p002")}


def test_forget_says_what_of_a_person_stays_in_immich(small: World) -> None:
    small.key = small.lab.server.add_key(small.lab.user, (*NAMES, *ALBUMS))
    assert "not touched in Immich" not in small.run("forget", ANNA)[2]
    small.names("--apply", "--albums")
    stays = ["the album of peter for faceset_001", f"the name {ANNA} that a person of peter got"]
    status, told, err = small.run("forget", ANNA)
    assert status == 0 and told["in_immich"] == stays and "; before --yes, sort_faces.py undo takes back" in err
    status, told, err = small.run("forget", ANNA, "--yes")
    assert status == 0 and told["in_immich"] == stays and "\n  ".join(("; take it away there:", *stays)) in err


def test_what_was_written_is_in_the_manifest_and_goes_with_the_person(small: World) -> None:
    small.names("--apply")
    record = folders.read_record(small.library.root / "faceset_001" / "manifest.json")
    assert record.in_immich == {"peter": {"people": {small.people[0].id: ["", ANNA]}, "assets": [], "out": []}}
    assert small.run("refine")[0] == 0 and small.run("not-this", "1", "0001.png")[0] == 0
    assert folders.read_record(small.library.root / "faceset_001" / "manifest.json").in_immich == record.in_immich
    assert small.run("forget", ANNA, "--yes")[0] == 0
    left = [path for path in small.library.root.rglob("*") if path.is_file()
            and small.people[0].id.encode() in path.read_bytes()]
    assert left == [] and small.called == [ANNA, EMOJI, ""]
