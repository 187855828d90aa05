"""A backup of Immich's database: who is there before the first download, and only the photos that are worth it."""

import base64
import contextlib
import gzip
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from busy import LIMIT
from immich_lab import backups
from stage_lab import CHECKOUT, NEEDED, Lab, laboratory
from test_stage_listing import check_sums

from facesets.common.errors import Failure
from facesets.embed import packs
from facesets.fake_immich.library_model import User
from facesets.formats import cache
from facesets.formats.faceset import FACES, Contents, write_faces
from facesets.formats.summary import SHOWN, Person
from facesets.formats.vectors import unit_mean
from facesets.immich import backup, preflight
from facesets.immich.breaker import Breaker
from facesets.immich.client import Access, Client
from facesets.library import store
from facesets.library.folder import MANIFEST, NAME, Record, write_name, write_record
from facesets.library.store import Manifest, write_manifest
from facesets.operations import status
from facesets.report import make, runs
from facesets.stage import portraits
from facesets.stage.choice import in_turn

REAL = CHECKOUT.parent / "shared" / "immich" / "backup-2.7.2.sql.gz"
MARY = "a4189ca7-2683-435f-8645-2a84edc8b4b1"       # whose photos those of ../shared are
LONG_AGO = {"Ann": 24, "Bob": 9}                    # people who recur -> photos of each


class Library:
    """A lab whose photos show two people who recur, six strangers, and three whom Immich could not judge."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.who = lab, dict[str, str]()      # asset id -> whom it shows
        self.vectors: dict[str, np.ndarray | None] = {}     # face id -> embedding
        rng = np.random.default_rng(7)
        people = {name: rng.normal(size=512) for name in (*LONG_AGO, *(f"stranger {n}" for n in range(6)))}
        for name, direction in people.items():
            for number in range(LONG_AGO.get(name, 1)):
                asset = lab.one(taken=f"{2010 + number % 6}-05-0{number % 9 + 1}T10:00:00")
                self.who[asset.id] = name
                noisy = direction + 0.5 * rng.normal(size=512)
                self.vectors[asset.faces[0].id] = noisy / np.linalg.norm(noisy) * (20 + number / 10)
        small, bare, _ = unjudged = lab.add(3)          # the last one is newer than the backup
        for asset in unjudged:
            self.who[asset.id] = "unjudged"
        # a face of 95 pixels that has 24 in the preview, and one that Immich has no embedding of
        small.faces = [lab.server.face((0, 0, 24, 24), 25, 25)]
        self.vectors[small.faces[0].id] = rng.normal(size=512)
        self.newest = unjudged[2].id
        lab.add(2, faces=0)
        lab.add(2, face_px=30)
        self.vectors[bare.faces[0].id] = None

    def sql(self, **options: object) -> str:
        library = self.lab.server.library
        newest = library.assets.pop(self.newest)
        made = backups.dump(library, lambda face: self.vectors.get(face.id), **options)     # type: ignore[arg-type]
        library.assets[self.newest] = newest
        return made

    def save(self, folder: Path, **options: object) -> str:
        path = folder / "backup.sql"
        path.write_text(self.sql(**options))
        return str(path)

    def staged(self) -> Counter[str]:
        return Counter(self.who[entry["asset_id"]] for entry in self.lab.entries())


def library(lab: Lab) -> None:
    lab.made = Library(lab)     # type: ignore[attr-defined]


def administrator(lab: Lab) -> User:
    admin = lab.server.add_user("Admin")
    admin.is_admin = True
    return admin


@pytest.mark.parametrize(("version", "server"), [((2, 7), (2, 7, 2)), ((3, 1), (3, 1, 0)), ((3, 2), (3, 2, 0))])
def test_the_best_of_who_recurs_and_what_cannot_be_judged_is_fetched(version, server, tmp_path):
    with laboratory(tmp_path, server, library) as lab:
        made = lab.made.save(tmp_path, version=version)
        run = lab.stage("--backup", made, "--pictures", "10")
        assert run.status == 0, run.err
        assert "faces: nobody known yet, 2 people you do not have yet, 22 photos are worth" in run.err, run.err
        assert lab.made.staged() == {"Ann": 10, "Bob": 9, "unjudged": 3}
        assert (run.summary["staged_count"], run.summary["not_needed_yet"]) == (22, 20)
        assert [one["faces"] for one in run.summary["who_is_there"]["people"]] == [24, 9]
        check_sums(run.summary)
        reasons = sqlite3.connect(lab.user_dir / "state.db").execute(
            "SELECT reason, COUNT(*) FROM assets WHERE outcome = 'later' GROUP BY reason").fetchall()
        assert dict(reasons) == {"better photos of everybody in it are fetched": 14, "nobody in it is seen again": 6}
        if server >= (3, 0, 0):     # the backup has the boxes of all but the newest photo
            assert len(lab.server.log.find("/api/faces")) == 1


def test_a_later_run_with_more_pictures_fetches_the_rest_and_one_without_a_backup_all(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        made = lab.made.save(tmp_path)
        run = lab.stage("--backup", made, "--pictures", "10")
        assert "not needed yet: 20; more --pictures fetches up to 14 of them, a run without --backup all" in run.err
        assert re.search(r"worth fetching \([\d.]+ MB\) of 42", run.err) and "(0.0 MB)" not in run.err, run.err
        first = {entry["asset_id"] for entry in lab.entries()}
        lab.server.log.clear()
        more = lab.stage("--backup", made, "--pictures", "20")
        assert lab.made.staged() == {"Ann": 20, "Bob": 9, "unjudged": 3} and lab.asked()["original"] == 10
        assert first < {entry["asset_id"] for entry in lab.entries()}
        check_sums(more.summary)
        assert "22 of 42 photos are here, 10 more are worth fetching (" in more.err, more.err
        most = lab.stage("--backup", made, "--pictures", "0")
        assert most.summary["not_needed_yet"] == 6 and "not needed yet: 6; a run without --backup all" in most.err
        last = lab.stage()
        assert last.summary["not_needed_yet"] == 0 and "who_is_there" not in last.summary
        assert lab.queue() == lab.undisturbed()


def test_people_of_the_library_are_known_unless_another_recogniser_made_it(tmp_path):
    ann = tmp_path / "library" / "faceset_001"
    with laboratory(tmp_path, fill=library) as lab:
        rows = np.stack([vector for asset, vector in zip(lab.made.who, lab.made.vectors.values(), strict=False)
                         if lab.made.who[asset] == "Ann"]).astype(np.float32)
        middle = unit_mean(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        lab.extra["FACESETS_LIBRARY"] = str(ann.parent)
        ann.mkdir(parents=True)
        for sha256, share, said in ((packs.recogniser_sha256("buffalo_l"), 60, "60 % of 1 people you have"),
                                    ("ab" * 32, 0, "whom you have is not told")):
            model = cache.Model("buffalo_l" if share else "other", sha256, "", backup.D, 0.45, 0.55)
            photo = cache.Photo("/p/1.jpg", "cd" * 32, "faces")
            write_faces(ann / FACES, Contents(cache.Cache(model, [photo], np.zeros(1, cache.FACE), middle[None],
                                                          np.ones(1, np.float32)), np.ones(1, np.int32), middle))
            entry = Record("faceset_001", 1, "Ann of old")
            write_name(ann / NAME, "Ann of old")
            write_manifest(ann.parent / "manifest.json", Manifest(2, asdict(model), [entry]))
            run = lab.stage("--backup", lab.made.save(tmp_path), "--dry-run", "--pictures", "10")
            assert run.status == 0 and said in run.err, run.err
            first = run.summary["who_is_there"]["people"][0]
            assert (first["faceset"], first["name"]) == (("faceset_001", "Ann of old") if share else ("", ""))
            assert (run.summary["pending"], run.summary["not_needed_yet"]) == (22, 20)


def test_status_and_the_report_say_what_is_not_needed_yet(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        assert lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "10").status == 0
        [user] = runs.users(lab.root)
        listed = user.stage("stage")
        assert listed and listed.adds_up and listed.count("not needed yet") == 20 and not listed.left
        assert "22 photos are worth fetching" in listed.notes[0]
        assert [(one.name, one.faces, one.years, one.fetched, one.photos) for one in listed.people] == [
            ("", 24, ["2010", "2015"], 10, 24), ("", 9, ["2010", "2015"], 9, 9)]
        said = status.text(status.status(lab.root, store.Library(tmp_path / "library")))
        assert any("22 photos of 46 assets, 20 not needed yet" in line for line in said), said


def whose_faces_are_known_to_immich(lab: Lab) -> None:
    """Immich calls Ann's faces <Anna>; Bob's are a person without a name and, on 3.x too, without a picture."""
    library(lab)
    anna, nobody = lab.server.add_person(lab.user, "<Anna>"), lab.server.add_person(lab.user)
    for asset, who in lab.made.who.items():
        if who in LONG_AGO:
            [face] = lab.server.library.assets[asset].faces
            face.person = anna if who == "Ann" else nobody
    lab.anna, lab.nobody = anna.id, nobody.id       # type: ignore[attr-defined]


def tagged_since(lab: Lab) -> list[str]:
    """Somebody tagged Eve since, in two photos where Immich had found nobody, and in two where only a small face."""
    eve = lab.server.add_person(lab.user, "Eve")
    since = [asset for asset in lab.server.library.assets.values() if asset.id not in lab.made.who]
    for asset in since:
        face = lab.server.face((2, 2, 97, 97), 100, 100)
        face.person = eve
        lab.server.library.add_face(asset, face)
    return [asset.id for asset in since]


def people_in_queue(lab: Lab) -> Counter[str]:
    return Counter(face["person_name"] for entry in lab.entries() for face in entry["faces"])


@pytest.mark.parametrize("server", [(2, 7, 2), (3, 1, 0)])
def test_whoever_was_tagged_since_the_backup_is_fetched_and_stays_whatever_is_corrected(server, tmp_path):
    with laboratory(tmp_path, server, library) as lab:
        made = lab.made.save(tmp_path)
        since = tagged_since(lab)
        flags = ("--backup", made, "--pictures", "10")
        run = lab.stage(*flags)
        assert run.status == 0 and run.summary["staged_count"] == 22 + 4, run.err
        assert people_in_queue(lab)["Eve"] == 4 == len(since)
        dan = lab.server.add_person(lab.user, "Dan")
        for one in since:
            lab.server.library.assets[one].faces[-1].person = dan
        run = lab.stage(*flags)
        assert run.summary["staged_count"] == 22 + 4 and "no longer" not in run.err, run.err
        assert people_in_queue(lab)["Dan"] == 4 and not people_in_queue(lab)["Eve"]


@pytest.mark.parametrize("server", [(2, 7, 2), (3, 1, 0)])
def test_what_immich_calls_somebody_now_wins_over_the_backup(server, tmp_path):
    with laboratory(tmp_path, server, whose_faces_are_known_to_immich) as lab:
        flags = ("--backup", lab.made.save(tmp_path), "--pictures", "10")
        people = lab.server.library.people
        lab.key = lab.server.add_key(lab.user)

        def seen() -> tuple[list[str], Counter[str]]:
            run = lab.stage(*flags)
            shown = run.summary["who_is_there"]["people"]
            assert all(bool(one["picture"]) == (one["immich"] in people) for one in shown)
            return [one["name"] for one in shown], people_in_queue(lab)
        people[lab.anna].name, people[lab.nobody].name = "Anna Schmidt", "Bob"
        assert seen() == (["Anna Schmidt", "Bob"], {"Anna Schmidt": 10, "Bob": 9, "": 3})
        people[lab.nobody].name = "Robert"
        assert seen() == (["Anna Schmidt", "Robert"], {"Anna Schmidt": 10, "Robert": 9, "": 3})
        eve = lab.server.add_person(lab.user, "Eve")        # Anna is merged into her, and Robert taken away
        for asset in lab.server.library.assets.values():
            for face in asset.faces:
                face.person = eve if face.person and face.person.id == lab.anna else None
        del people[lab.anna], people[lab.nobody]
        assert seen() == (["Eve", ""], {"Eve": 10, "": 12})


def report_of(lab: Lab) -> str:
    return Path(make.make(lab.root / "library", lab.root, 0.1).report).read_text()


def pictures_in(page: str) -> list[np.ndarray]:
    found = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), cv2.IMREAD_COLOR) for one in found]


@pytest.mark.parametrize("may", [True, False], ids=["may", "may not"])
def test_the_report_shows_who_is_there_with_immichs_pictures_where_the_key_may(may, tmp_path):
    with laboratory(tmp_path, fill=whose_faces_are_known_to_immich) as lab:
        lab.key = lab.server.add_key(lab.user, (*NEEDED, *(["person.read"] if may else [])))
        run = lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "10", "--dry-run")
        assert run.status == 0 and "to see who is there: python sort_faces.py report" in run.err, run.err
        assert len(lab.server.log.find("/api/people/*")) == (2 if may else 0) and not lab.asked()["original"]
        assert run.summary["requests"] - run.summary["requests_before_downloads"] == (2 if may else 0)
        page = report_of(lab)           # before there is any faceset
        assert "2 people you do not have yet, 22 photos are worth fetching" in page
        row = re.search(r"&lt;Anna&gt;\s*<small>new</small></th><td>24</td>\s*<td>2010–2015</td>\s*<td>10 of 24", page)
        assert row and "<Anna>" not in page and "Somebody" in page
        assert ("no permission <code>person.read" in page) is not may
        assert [picture.shape for picture in pictures_in(page)] == ([(96, 96, 3)] * 2 if may else [])
        kept = lab.user_dir / "summary.json"
        assert kept.stat().st_mode & 0o777 == 0o600
        if may:     # made anew, small, of what the server sent
            sent = lab.server.library.assets[next(iter(lab.made.who))].read()
            assert all(len(one["picture"]) < len(sent) for one in run.summary["who_is_there"]["people"])


@pytest.mark.parametrize("fault", [
    {"kind": "html"}, {"kind": "json_image"}, {"kind": "wrong_bytes", "at": 0}, {"kind": "stop"}, {"kind": "reset"},
    {"kind": "status", "status": 404}, {"kind": "status", "status": 403}, {"kind": "status", "status": 503}],
    ids=lambda fault: "-".join(str(value) for value in fault.values()))
def test_a_picture_that_does_not_come_whole_is_not_shown_and_nothing_waits_for_it(fault, tmp_path):
    with laboratory(tmp_path, fill=whose_faces_are_known_to_immich) as lab:
        lab.key = lab.server.add_key(lab.user)
        lab.server.faults.add(fault.pop("kind"), "*/people/*/thumbnail", **fault)
        run = lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "10")
        assert run.status == 0 and lab.made.staged() == {"Ann": 10, "Bob": 9, "unjudged": 3}, run.err
        assert not any(one["picture"] for one in run.summary["who_is_there"]["people"])
        refused = fault.get("status") == 403
        assert len(lab.server.log.find("/api/people/*")) == (1 if refused else 2)
        page = report_of(lab)
        assert "&lt;Anna&gt;" in page and not pictures_in(page)


def test_who_is_there_is_kept_though_the_run_is_stopped_while_pictures_come(tmp_path):
    with laboratory(tmp_path, fill=whose_faces_are_known_to_immich) as lab:
        lab.key = lab.server.add_key(lab.user)
        lab.server.faults.add("delay", "*/people/*/thumbnail", seconds=600)
        process = lab.start("--backup", lab.made.save(tmp_path), "--pictures", "10")
        lab.wait_for("*/people/*/thumbnail", 1)
        process.send_signal(signal.SIGINT)
        run = lab.finish(process)
        assert run.status == 2, run.err
        [user] = runs.users(lab.root)
        assert [one.faces for one in user.stage("stage").people] == [24, 9] and not user.problems


def test_a_summary_of_another_form_is_a_problem_that_is_told_and_not_the_end(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        assert lab.stage("--backup", lab.made.save(tmp_path), "--dry-run").status == 0
        kept = lab.user_dir / "summary.json"
        value = json.loads(kept.read_bytes())
        for wrong in (1, [], {"people": 1}, {"people": [1]}, {"people": [{"faces": "x"}]},
                      {"people": [{**value["who_is_there"]["people"][0], "more": 1}]}):
            kept.write_text(json.dumps({**value, "who_is_there": wrong}))
            said = status.text(status.status(lab.root, store.Library(tmp_path / "library")))
            assert bool(wrong) == any("summary.json is not the summary of a stage run" in line for line in said), said
            assert "Staged" in report_of(lab)


def pictures_of(lab: Lab, people: list[str], clock: Callable[[], float] = lambda: 0.0) -> list[bool]:
    """Which of these people of Immich come with a picture?"""
    client = Client(Access(lab.server.url, ("x-api-key", lab.server.add_key(lab.user))),
                    Breaker(1, 0, 0.01, print), threading.Event())
    server = preflight.greet(client)
    lab.server.log.clear()
    seen = portraits.given(client, server, [Person("", "", 9, ("2020",), 1, 2, one) for one in people], clock)
    return [bool(one.picture) for one in seen]


def test_pictures_are_asked_for_no_longer_than_patience_lasts_and_of_those_alone_who_are_shown(tmp_path):
    with laboratory(tmp_path, fill=whose_faces_are_known_to_immich) as lab:
        assert pictures_of(lab, [lab.anna] * (SHOWN + 5)) == [True] * SHOWN + [False] * 5
        # each answer takes nine seconds, so the third comes too late
        came = pictures_of(lab, [lab.anna] * 5, lambda: 9.0 * len(lab.server.log.find("*/thumbnail")))
        assert came == [True, True, False, False, False] and len(lab.server.log) == 3
        assert not any(pictures_of(lab, ["", "../users/me", "a?b", "x\n"])) and not list(lab.server.log)


@pytest.mark.parametrize(("fault", "people", "asked", "came"), [
    ({"kind": "stall", "at": 10, "seconds": 40, "times": 1}, 2, 2, 1), ({"kind": "status", "status": 503}, 5, 3, 0),
    ({"kind": "status", "status": 429, "retry_after": 60, "skip": 1}, 5, 2, 1)], ids=["stalls", "fails", "says later"])
def test_a_server_that_is_slow_to_give_pictures_or_would_rather_not_is_not_asked_on(
        fault, people, asked, came, tmp_path):
    with laboratory(tmp_path, fill=whose_faces_are_known_to_immich) as lab:
        lab.server.faults.add(fault.pop("kind"), "*/thumbnail", **fault)
        assert sum(pictures_of(lab, [lab.anna] * people)) == came
        assert len(lab.server.log) == asked


def test_known_faces_of_photos_that_were_not_fetched_are_counted_by_status_and_extend(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        shelf = tmp_path / "library"
        shelve(lab, shelf)
        (lab.root / "cache" / "immich_peter.npz").rename(tmp_path / "cache.npz")       # all that it has is on the shelf
        assert lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "10").status == 0
        said = status.text(status.status(lab.root, store.Library(shelf)))
        assert any("22 photos of 46 assets, 20 not needed yet (14 of people you have; to fetch them: python "
                   "immich_stage.py --user peter --json --backup" in line and "backup.sql --pictures 0)" in line
                   for line in said), said
        (tmp_path / "cache.npz").rename(lab.root / "cache" / "immich_peter.npz")
        said = sort_faces(lab, "extend", "--dry-run")
        assert "known people that are not fetched yet: faceset_001 14; to fetch them: python immich_stage.py" in said
        assert lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "0").status == 0
        said = status.text(status.status(lab.root, store.Library(shelf)))
        assert not any("people you have" in line for line in said), said


def shelve(lab: Lab, shelf: Path, who: str = "", sets: Sequence[tuple[int, ...]] = ((3, 3, 96, 96),)) -> None:
    """faceset_001 of the staged photos of `who`, as an export leaves it; "": of another photo, with Ann's embedding.
    As many more as there are boxes, each of the faces there."""
    rows = np.stack([vector for asset, vector in zip(lab.made.who, lab.made.vectors.values(), strict=False)
                     if lab.made.who[asset] == (who or "Ann")]).astype(np.float32)
    middle = unit_mean(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    model = cache.Model("buffalo_l", packs.recogniser_sha256("buffalo_l"), "", backup.D, 0.45, 0.55)
    shas = ["cd" * 32] if not who else [
        entry["sha256"] for entry in lab.entries() if lab.made.who[entry["asset_id"]] == who]
    meta = np.zeros(len(shas), cache.FACE)
    meta["photo"] = np.arange(len(shas))
    lab.extra["FACESETS_LIBRARY"] = str(shelf)
    records = [Record(f"faceset_{number:03}", number, "Ann") for number in range(1, len(sets) + 1)]
    for record, box in zip(records, sets, strict=True):
        meta["box"] = box
        faces = cache.Cache(model, [cache.Photo(f"/p/{sha256}.jpg", sha256, "faces") for sha256 in shas], meta,
                            np.tile(middle, (len(shas), 1)), np.ones(len(shas), np.float32))
        (shelf / record.folder).mkdir(parents=True)
        write_faces(shelf / record.folder / FACES, Contents(faces, np.ones(len(shas), np.int32), middle))
        write_record(shelf / record.folder / MANIFEST, record)
        cache.write(lab.root / "cache" / "immich_peter.npz", faces)
    write_manifest(shelf / "manifest.json", Manifest(2, asdict(model), records))


def sort_faces(lab: Lab, *words: str) -> str:
    done = subprocess.run([sys.executable, "sort_faces.py", *words], cwd=CHECKOUT, capture_output=True, text=True,
                          env={**os.environ, **lab.environment()}, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_somebody_who_was_new_to_the_backup_is_known_by_her_photos_once_there_is_a_faceset(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        assert lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "10").status == 0
        assert "20 not needed yet," not in sort_faces(lab, "status")
        shelve(lab, tmp_path / "library", "Ann")
        assert "20 not needed yet (14 of people you have; to fetch them: python" in sort_faces(lab, "status")
        said = sort_faces(lab, "extend", "--dry-run")
        assert "not fetched yet: faceset_001 14; to fetch them: python immich_stage.py --user peter" in said, said
        sort_faces(lab, "drop", "faceset_001")
        assert "not fetched yet" not in sort_faces(lab, "extend", "--dry-run")
        assert "of people you have" not in sort_faces(lab, "status")


class Couple(Library):
    """Ann is at the left of every photo, Bob at the right of all but the last six."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.who, self.vectors = lab, dict[str, str](), dict[str, np.ndarray | None]()
        rng = np.random.default_rng(7)
        for number in range(24):
            asset = lab.one(taken=f"{2010 + number % 6}-05-0{number % 9 + 1}T10:00:00", side=300)
            if number < 18:
                lab.server.library.add_face(asset, lab.server.face((150, 2, 245, 97), 300, 300))
            self.who[asset.id] = "Ann"
            for face, direction in zip(asset.faces, np.eye(2, 512), strict=False):
                noisy = direction + 0.03 * rng.normal(size=512)
                self.vectors[face.id] = noisy / np.linalg.norm(noisy) * 20
        self.newest = lab.one().id
        self.who[self.newest] = "unjudged"


def couple(lab: Lab) -> None:
    lab.made = Couple(lab)      # type: ignore[attr-defined]


LEFT, RIGHT = (3, 3, 96, 96), (151, 3, 244, 96)     # as another look at the same faces has them


@pytest.mark.parametrize("sets", [(LEFT,), (RIGHT,), (LEFT, RIGHT), (RIGHT, LEFT)], ids=["Ann", "Bob", "AB", "BA"])
def test_of_two_newcomers_on_the_same_photos_each_is_known_by_the_own_face(sets, tmp_path):
    with laboratory(tmp_path, fill=couple) as lab:
        run = lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "6")
        ann, bob = run.summary["who_is_there"]["people"]
        assert (ann["photos"], bob["photos"]) == (24, 18)
        shelve(lab, tmp_path / "library", "Ann", sets)
        [user] = runs.users(lab.root)
        waiting = user.waiting(store.Library(tmp_path / "library"))
        assert waiting == {f"faceset_{number + 1:03}": one["photos"] - one["fetched"] for number, one in enumerate(
            ann if box == LEFT else bob for box in sets)}
        left = run.summary["not_needed_yet"]
        of = f"up to {left}" if len(sets) > 1 else waiting.total()      # many photos are of both
        assert waiting.total() > left or len(sets) == 1
        assert f"{left} not needed yet ({of} of people you have; to fetch" in sort_faces(lab, "status")


class RawCouple(Couple):
    """Their photos are raw files, of which the server's previews are staged."""

    def __init__(self, lab):
        one, lab.one = lab.one, lambda **it: one(name=f"IMG_{len(lab.server.library.assets):04}.NEF", **it)
        super().__init__(lab)


def raw_couple(lab):
    lab.made = RawCouple(lab)


def test_of_two_newcomers_on_the_same_previews_none_is_taken_for_the_other(tmp_path):
    with laboratory(tmp_path, fill=raw_couple) as lab:
        left = lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "6").summary["not_needed_yet"]
        shelve(lab, tmp_path / "library", "Ann", (RIGHT,))
        [user] = runs.users(lab.root)
        assert left and not user.waiting(store.Library(tmp_path / "library"))


def test_a_faceset_that_nobody_named_is_told_by_immichs_name(tmp_path):
    with laboratory(tmp_path, fill=whose_faces_are_known_to_immich) as lab:
        flags = ("--backup", lab.made.save(tmp_path), "--pictures", "10")
        assert lab.stage(*flags).status == 0
        shelve(lab, tmp_path / "library", "Ann")
        people = lab.stage(*flags).summary["who_is_there"]["people"]
        assert [(one["faceset"], one["name"]) for one in people] == [("faceset_001", "<Anna>"), ("", "")]


def left_by(lab: Lab) -> list[object]:
    """What the stage has recorded of every asset, the summary, and what `status` says."""
    with contextlib.closing(sqlite3.connect(lab.user_dir / "state.db")) as db:
        kept = [db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in ("assets", "meta", "photos")]
    summary = lab.user_dir / "summary.json"
    return [kept, summary.exists() and summary.read_bytes(),
            status.text(status.status(lab.root, store.Library(lab.root / "none")), now=0)]


@pytest.mark.parametrize(("flags", "pending"), [
    ((), 20), (("--backup", "--pictures", "20"), 10), (("--backup", "--pictures", "5"), 0),
    (("--backup", "--min-face-px", "20"), None), (("--exclude", "*"), 0)],
    ids=["without a backup", "more pictures", "fewer pictures", "smaller faces", "without a backup, nothing"])
def test_a_dry_run_leaves_what_a_run_that_still_has_photos_to_fetch_chose(flags, pending, tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        made = lab.made.save(tmp_path)
        assert lab.stage("--backup", made, "--pictures", "10").status == 0
        lab.server.faults.add("status", "*/original", status=503)
        assert lab.stage("--backup", made, "--pictures", "20").summary["skipped_download_error"] == 10
        lab.server.faults.clear()
        before = left_by(lab)
        dry = lab.stage("--dry-run", *flags[:1], *([made] if flags[:1] == ("--backup",) else []), *flags[1:])
        assert dry.status == 0, dry.err
        assert pending is None or dry.summary["pending"] == pending, dry.summary
        assert left_by(lab) == before
        again = lab.stage("--backup", made, "--pictures", "20")
        assert again.summary["staged_count"] == 32


@pytest.mark.parametrize("ending", ["pause", "stop", "kill"])
def test_a_dry_run_that_ends_in_the_listing_leaves_what_the_killed_run_before_it_chose(ending, tmp_path):
    with laboratory(tmp_path, (2, 7, 2), library) as lab:
        flags = ("--backup", lab.made.save(tmp_path), "--pictures", "10")
        lab.server.faults.add("delay", "*/original", seconds=600)
        process = lab.start(*flags)
        lab.wait_for("*/original", 1)
        os.kill(process.pid, signal.SIGKILL)
        lab.finish(process)
        lab.server.faults.clear()
        before = left_by(lab)
        if ending == "pause":
            lab.server.faults.add("status", "*/timeline/*", status=503)
        else:
            lab.server.faults.add("delay", "*/timeline/*", seconds=600)
        lab.server.log.clear()
        process = lab.start("--dry-run", *flags[:-1], "20")
        lab.wait_for("*/timeline/*", 1)
        if ending != "pause":
            process.send_signal(signal.SIGINT if ending == "stop" else signal.SIGKILL)
        assert lab.finish(process).status == (-signal.SIGKILL if ending == "kill" else 2)
        lab.server.faults.clear()
        assert left_by(lab) == before
        assert lab.stage("--dry-run", *flags[:-1], "5").status == 0
        assert left_by(lab)[0] == before[0]     # the killed one summed up nothing, so the report has this answer
        assert lab.stage(*flags).summary["staged_count"] == 22


def test_a_backup_that_cannot_be_read_is_not_what_status_goes_on_with(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        made = lab.made.save(tmp_path)
        lab.server.faults.add("status", "*/original", status=503)
        assert lab.stage("--backup", made, "--pictures", "10").status == 2
        assert lab.stage("--backup", f"{made}x", "--pictures", "10").status == 1
        command = status.status(lab.root, store.Library(lab.root / "none")).next.partition("    #")[0]
        assert command.endswith(f"--backup {made} --pictures 10")


@pytest.mark.parametrize("flags", [("--pictures", "12"), ("--backup", ""), ("--backup", " ", "--pictures", "9")])
def test_a_choice_without_a_backup_is_refused_and_not_taken_for_all(flags, tmp_path):
    with laboratory(tmp_path) as lab:
        run = lab.stage(*flags)
        assert run.status == 64 and "--backup" in run.err and len(run.err.splitlines()) == 1
        assert not list(lab.server.log)


@pytest.mark.parametrize(("pictures", "said"), [("5", "nobody new has enough for a faceset"), ("20", ""), ("0", ""), (
    "19", "facesets go without some of their best faces, which they hardly do with 20")])
def test_so_few_pictures_that_good_ones_are_missing_are_said_first(pictures, said, tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        run = lab.stage("--backup", lab.made.save(tmp_path), "--pictures", pictures, "--dry-run")
        assert run.status == 0
        assert [said in line for line in run.err.splitlines() if "docs/backup.md" in line] == ([True] if said else [])


def test_who_is_seen_too_seldom_for_a_faceset_is_no_new_person(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        lab.extra["FACESETS_MIN_FACES"] = "12"
        run = lab.stage("--backup", lab.made.save(tmp_path), "--dry-run")
        assert "nobody known yet, 1 people you do not have yet and 1 seen too seldom for a faceset, " in run.err
        assert [one["seldom"] for one in run.summary["who_is_there"]["people"]] == [False, True]
        assert "<small>seldom</small>" in report_of(lab)


def test_a_dry_run_answers_and_fetches_nothing(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        run = lab.stage("--backup", lab.made.save(tmp_path), "--dry-run", "--pictures", "10")
        assert run.status == 0 and not lab.asked()["original"] and not lab.photos
        assert (run.summary["pending"], run.summary["not_needed_yet"]) == (22, 20)
        assert "24 faces  2010-2015     10 of    24 photos" in run.err
        assert "--dry-run" not in run.err.splitlines()[-1] and "--backup" in run.err.splitlines()[-1]


def test_status_goes_on_with_the_backup_since_without_it_all_the_rest_would_be_fetched(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        backup_file = lab.made.save(tmp_path)
        lab.server.faults.add("status", "*/original", status=503)
        assert lab.stage("--backup", backup_file, "--pictures", "10").status == 2
        again = status.status(lab.root, store.Library(lab.root / "none")).next
        assert again.startswith("python immich_stage.py --user peter"), again
        assert again.endswith(f"--backup {backup_file} --pictures 10"), again
        lab.server.faults.clear()
        assert lab.stage().status == 0
        assert "--backup" not in status.status(lab.root, store.Library(lab.root / "none")).next


def test_status_goes_on_with_the_backup_though_the_run_was_killed_while_it_was_read(tmp_path):
    with laboratory(tmp_path, (3, 1, 0), library) as lab:
        lab.extra["IMMICH_ADMIN_API_KEY"] = lab.server.add_key(administrator(lab), backup.PERMISSIONS)
        lab.server.faults.add("delay", "*/database-backups", seconds=600)
        process = lab.start("--backup", "server")
        lab.wait_for("*/database-backups", 1)
        os.kill(process.pid, signal.SIGKILL)
        lab.finish(process)
        assert status.status(lab.root, store.Library(lab.root / "none")).next.endswith(" --backup server")


def test_of_equal_files_none_is_left_behind(tmp_path):
    def twins(lab: Lab) -> None:
        library(lab)
        again = [lab.one(number=9000, taken="2021-01-01T00:00:00") for _ in range(4)]
        vector = next(iter(lab.made.vectors.values()))
        for asset in again:
            lab.made.vectors[asset.faces[0].id], lab.made.who[asset.id] = vector, "Ann"
    with laboratory(tmp_path, fill=twins) as lab:
        run = lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "28")
        assert lab.made.staged()["Ann"] == 25 and run.summary["deduped_against_staged"] == 3


def test_a_face_that_is_there_twice_and_one_that_immich_alone_knows_are_no_trouble(tmp_path):
    def odd(lab: Lab) -> None:
        library(lab)
        anna = lab.server.add_person(lab.user, "Anna")
        first, *_, stranger = (lab.server.library.assets[one] for one, who in lab.made.who.items() if who != "unjudged")
        again = lab.server.face(first.faces[0].box, first.faces[0].width, first.faces[0].height)
        lab.server.library.add_face(first, again)
        lab.made.vectors[again.id] = lab.made.vectors[first.faces[0].id]
        stranger.faces[0].person = anna
    with laboratory(tmp_path, fill=odd) as lab:
        run = lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "10")
        assert run.status == 0, run.err
        assert lab.made.staged() == {"Ann": 10, "Bob": 9, "unjudged": 3, "stranger 5": 1}


def test_more_pictures_fetch_more_of_somebody_whom_immich_alone_knows_too(tmp_path):
    def known(lab: Lab) -> None:
        library(lab)
        anna = lab.server.add_person(lab.user, "Anna")
        for one, who in lab.made.who.items():
            if who in ("stranger 1", "stranger 2"):
                lab.server.library.assets[one].faces[0].person = anna
    with laboratory(tmp_path, fill=known) as lab:
        run = lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "1", "--dry-run")
        assert run.summary["pending"] == 6 and f"fetches up to {23 + 8 + 1} of them" in run.err, run.err


def test_a_backup_without_embeddings_tells_of_nobody_so_all_is_fetched(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        lab.made.vectors.clear()
        run = lab.stage("--backup", lab.made.save(tmp_path), "--library", str(tmp_path / "elsewhere"))
        assert run.status == 0 and "0 faces: nobody known yet, 0 people" in run.err, run.err
        assert (run.summary["staged_count"], run.summary["not_needed_yet"]) == (42, 0)
        assert run.err.splitlines()[-1].endswith(f"--library {tmp_path / 'elsewhere'}")


def test_a_kill_at_any_time_changes_nothing(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        made = lab.made.save(tmp_path)
        flags = ("--backup", made, "--pictures", "10")
        calm, lab.root = lab.root, tmp_path / "calm"
        assert lab.stage(*flags).status == 0
        wanted, lab.root = lab.queue(), calm
        for given in (1, 9):        # photos, then the server is silent until the kill has come
            lab.server.log.clear()
            lab.server.faults.add("delay", "*/original", skip=given, seconds=600)
            process = lab.start(*flags)
            lab.wait_for("*/original", given + 1)
            os.kill(process.pid, signal.SIGKILL)
            lab.finish(process)
            lab.server.faults.clear()
        assert lab.stage(*flags).status == 0 and lab.queue() == wanted


@pytest.mark.parametrize("fault", [{"kind": "stop", "at": 0.5}, {"kind": "short", "piece": 3000}],
                         ids=["cut off", "ends too early"])
def test_the_newest_backup_of_the_server_is_read_by_an_administrators_key_and_nothing_of_it_is_kept(fault, tmp_path):
    with laboratory(tmp_path, (3, 1, 0), library) as lab:
        admin = administrator(lab)
        key = lab.server.add_key(admin, backup.PERMISSIONS)
        lab.extra["IMMICH_ADMIN_API_KEY"] = key
        backups.offer(lab.server.library, lab.made.sql(version=(3, 1)))
        lab.server.faults.add(fault.pop("kind"), f"*/{backups.NAME}", **fault, times=1)
        run = lab.finish(lab.start("--backup", "server", "--pictures", "10"))
        assert run.status == 0, run.err
        assert lab.made.staged() == {"Ann": 10, "Bob": 9, "unjudged": 3}
        asked = [one.path for one in lab.server.log if "database-backups" in one.path]
        assert asked == ["/api/admin/database-backups", *[f"/api/admin/database-backups/{backups.NAME}"] * 2]
        left = b"".join(path.read_bytes() for path in lab.root.rglob("*") if path.is_file())
        for secret in (key, backups.TOKEN, backups.PASSWORD):
            assert secret.encode() not in left and secret not in run.out + run.err
        assert not list(lab.root.rglob("*.sql*"))


def test_a_backup_that_never_ends_is_read_no_further_than_the_server_says_that_it_goes(tmp_path):
    with laboratory(tmp_path, (3, 1, 0), library) as lab:
        lab.extra["IMMICH_ADMIN_API_KEY"] = lab.server.add_key(administrator(lab), backup.PERMISSIONS)
        sent = backups.offer(lab.server.library, lab.made.sql(version=(3, 1)))
        lab.server.library.backup_size = len(sent) - 100        # type: ignore[attr-defined]
        run = lab.stage("--backup", "server")
        assert run.status == 2 and "does not give its backup: the answer is larger than" in run.err, run.err


@pytest.mark.parametrize(("key", "status", "said"), [
    ("", 78, "export IMMICH_ADMIN_API_KEY, the key of an administrator"),
    ("wrong", 77, "IMMICH_ADMIN_API_KEY must be the key of an administrator"),
    ("user", 77, "IMMICH_ADMIN_API_KEY must be the key of an administrator"),
    ("poor", 77, "the key lacks the permissions maintenance, backup.download"),
    ("admin", 1, "has no backup yet")])
def test_a_key_that_does_not_open_the_backup_is_said(key, status, said, tmp_path):
    with laboratory(tmp_path, (3, 1, 0)) as lab:
        admin = administrator(lab)
        keys = {"user": lab.server.add_key(lab.user), "poor": lab.server.add_key(admin, ("asset.read",)),
                "admin": lab.server.add_key(admin), "wrong": "none"}
        lab.extra["IMMICH_ADMIN_API_KEY"] = keys.get(key, "")
        run = lab.stage("--backup", "server")
        assert run.status == status and said in run.err and not lab.photos


def test_an_immich_that_gives_no_backup_is_said(tmp_path):
    with laboratory(tmp_path, (2, 4, 0)) as lab:
        lab.extra["IMMICH_ADMIN_API_KEY"] = lab.server.add_key(administrator(lab))
        run = lab.stage("--backup", "server")
        assert run.status == 1 and "--backup FILE" in run.err


DAMAGE = {      # what is done to the SQL of a good dump -> what is said
    "cut in a row": (lambda sql: sql[:sql.index("COPY public.face_search") + 900], "breaks off"),
    "cut behind a table": (lambda sql: sql[:sql.index("COPY public.person")], "breaks off"),
    "cut in the second database": (lambda sql: backups.HEAD + backups.TAIL + sql[:sql.index("COPY public.person")],
                                   "breaks off"),
    "not the end": (lambda sql: sql.replace(backups.TAIL, ""), "breaks off"),
    "empty": (lambda sql: "", "holds no tables of Immich; wanted is a backup as Immich makes it"),
    "another program's": (lambda sql: backups.HEAD + backups.table("orders", ("id",), [(1,)]) + backups.TAIL,
                          "holds no faces of Immich 2.0"),
    "another server's": (lambda sql: sql.replace('public.asset (id, "ownerId"', 'public.asset ("ownerId", id'),
                         "knows no photo of this user"),
    "another length": (lambda sql: _shorter(sql), "has embeddings of 128 numbers"),
    "no numbers": (lambda sql: sql.replace("\t[", "\t[x,", 1), "is damaged"),
    "not finite": (lambda sql: re.sub(r"\t\[[^,]*", "\t[1e39", sql, count=1), "that are none"),
    "a row too short": (lambda sql: sql.replace("\tmachine-learning\t\\N\tt", "", 1), "a row of 9 columns"),
    "a row too long": (lambda sql: sql.replace("\tmachine-learning", "\tmachine\tlearning", 1), "a row of 13 columns"),
    "a row without its end": (lambda sql: sql.replace("\tt\n", "\t", 1), "asset_face has a row of 23 columns, not 12"),
    "bytes that are no text": (lambda sql: re.sub(r"(?<=stdin;\n)\w+(?=-.*\t.*\.jpg\n)", "\udcff", sql), "is damaged"),
    "no number in a box": (lambda sql: sql.replace("\t100\t100\t2\t2\t", "\t100\tx\t2\t2\t", 1), "is damaged"),
    "a giant number": (lambda sql: sql.replace("\t100\t100\t2\t2\t", f"\t100\t{9 ** 40}\t2\t2\t", 1), "is damaged"),
    "another order": (lambda sql: sql.replace("public.asset (", "public.zoo ("), "tables in another order"),
    "a person's column gone": (lambda sql: sql.replace('"personId"', '"who"'), "is damaged, or of an Immich"),
    "a table twice": (lambda sql: sql.replace(backups.TAIL, _faces(sql) + backups.TAIL), "table face_search twice"),
    "settings without an end": (lambda sql: sql.replace("(key, value) FROM stdin;\n", "(key, value) FROM stdin;\n"
                                                        f"system-config\t{'[' * 200_000}\n"), "is damaged, or of an"),
    "a column gone": (lambda sql: sql.replace('"boundingBoxX1"', '"boxX1"'), "is damaged, or of an Immich"),
}


def _faces(sql: str) -> str:
    return sql[sql.index("COPY public.face_search"):sql.index("COPY public.person")]


def _shorter(sql: str) -> str:
    rows = [line[:line.index("[")] + backups.vector([1.5] * 128) if "[" in line else line
            for line in _faces(sql).split("\n")]
    return sql.replace(_faces(sql), "\n".join(rows))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_foreign_dump_is_one_line_and_changes_nothing(damage, packed, tmp_path):
    lab = Lab(tmp_path)
    library(lab)
    data, said = DAMAGE[damage][0](lab.made.sql()).encode(errors="surrogateescape"), DAMAGE[damage][1]
    path = tmp_path / "backup"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(Failure) as failure:
        backup.of_file(path, lab.user.id)
    assert said in str(failure.value) and str(path) in str(failure.value) and "\n" not in str(failure.value)


@pytest.mark.parametrize(("data", "said"), [
    (b"PGDMP\x01\x0e\x00" + bytes(90), "in pg_dump's custom format; wanted is"), (b"(\xb5/\xfd" + bytes(90), "zstd"),
    (b"PK\x03\x04" + bytes(90), "a zip"), (gzip.compress(b"x" * 9999)[:40], "breaks off"),
    (gzip.compress(random.Random(1).randbytes(9999))[:-9] + bytes(9), "is damaged"),
    (random.Random(2).randbytes(5000), "wanted is"),
    (b"\x1f\x8bnonsense that is no gzip", "is damaged"), (None, "No such file")],
    ids=["custom", "zstd", "zip", "cut", "checksum", "noise", "no gzip", "absent"])
def test_what_is_no_dump_at_all_is_said(data, said, tmp_path):
    with laboratory(tmp_path) as lab:
        path = tmp_path / "backup.sql.gz"
        if data is not None:
            path.write_bytes(data)
        run = lab.stage("--backup", str(path))
        assert run.status == 1 and said in run.err.splitlines()[-1], run.err
        assert not lab.photos and not (lab.user_dir / "summary.json").exists()


def test_a_dump_cut_anywhere_breaks_off_whether_it_is_packed_or_not(tmp_path):
    lab = Lab(tmp_path)
    library(lab)
    path, sql = tmp_path / "backup", lab.made.sql().encode()
    for data in (sql, gzip.compress(sql)):
        least = sql.index(b"stdin;\n") + 7 if data is sql else 20      # before that it is nothing at all
        for end in (*range(least, len(data) - 40, len(data) // 25), len(data) - 12):
            path.write_bytes(data[:end])
            with pytest.raises(Failure, match="breaks off; take another backup"):
                backup.of_file(path, lab.user.id)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_dump_that_came_through_a_terminal_with_its_line_ends_is_read_as_any_other(packed, tmp_path):
    lab = Lab(tmp_path)
    whose_faces_are_known_to_immich(lab)
    path, read = tmp_path / "backup", []
    for line_end in ("\n", "\r\n"):
        data = lab.made.sql(config='{"a": "b"}').replace("\n", line_end).encode()
        path.write_bytes(gzip.compress(data) if packed else data)
        read.append(vars(backup.of_file(path, lab.user.id)))
    np.testing.assert_equal(*read)
    assert len(read[0]["embeddings"]) > 30 and "<Anna>" in read[0]["people"].values()


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path):
    path = tmp_path / "bomb.sql.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(b'COPY public.asset (id, "ownerId") FROM stdin;\n')
        for _ in range(300):
            file.write(bytes(1 << 20))      # 300 MB in 1.3
    tracemalloc.start()
    with pytest.raises(Failure, match="has a line without end; wanted is"):
        backup.of_file(path, "me")
    assert tracemalloc.get_traced_memory()[1] < 200 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(("written", "name"), [
    (r"Ann\\tie", "Ann\\tie"), (r"Ann\tie", "Ann ie"), ("Ann\\", "Ann\\"), (r"\q\A", "qA"), ("An\udcffn", "An\ufffdn"),
    (r"\N", "")])
def test_a_name_is_read_as_the_database_has_it_whatever_its_escapes(written, name, tmp_path):
    lab = Lab(tmp_path)
    whose_faces_are_known_to_immich(lab)
    path = tmp_path / "backup.sql"
    path.write_bytes(lab.made.sql().replace("<Anna>", written).encode(errors="surrogateescape"))
    assert backup.of_file(path, lab.user.id).people[lab.anna] == name


def test_the_recogniser_is_that_of_the_settings_and_nothing_else_of_them_is_kept(tmp_path):
    lab = Lab(tmp_path)
    library(lab)
    config = {"oauth": {"clientSecret": "s3cret\\x"},
              "machineLearning": {"facialRecognition": {"modelName": "antelopev2", "minScore": 0.7}}}
    path = Path(lab.made.save(tmp_path, config=json.dumps(config).replace("\\", "\\\\")))
    read = backup.of_file(path, lab.user.id)
    assert read.recogniser == "antelopev2" and "s3cret" not in repr(vars(read))
    assert backup.of_file(Path(lab.made.save(tmp_path)), lab.user.id).recogniser == "buffalo_l"


@pytest.mark.skipif(not REAL.exists(), reason="no ../shared")
def test_the_real_backup_gives_one_users_faces_and_names():
    read = backup.of_file(REAL, MARY)
    assert (len(read.assets), len(read.face), read.embeddings.shape) == (1128, 1891, (1891, 512))
    assert len(read.people) == 132 and "Alfred Molina" in read.people.values()
    norms = np.linalg.norm(read.embeddings, axis=1)
    assert 1 < norms.min() and norms.max() < 6
    [row] = read.rows("893655d1-6c88-4570-a618-19e7ab17b6f2")
    assert (row["imageWidth"], row["boundingBoxX1"], row["boundingBoxY2"]) == (266, 119, 104)
    assert row["person"]["name"] == "Alfred Molina"
    with pytest.raises(Failure, match="knows no photo of this user"):
        backup.of_file(REAL, "00000000-0000-4000-8000-000000000001")


def test_photos_are_taken_by_quality_and_by_year_in_turn_and_a_moment_shown_again_last():
    years = ["2020", "2020", "2020", "2020", "2011", "2020", "2012"]
    order = in_turn(years, again=[1])
    assert sorted(order) == list(range(7)) and order[:4] == [0, 2, 4, 3] and order[-1] == 1


@pytest.mark.parametrize("by", ["size", "clarity"])
def test_the_largest_and_the_clearest_are_fetched_first(by, tmp_path):
    def alike(lab: Lab) -> None:
        """Of Ann's photos the sixth shows her three times as large, or with a vector half as long again."""
        library(lab)
        ann = [lab.server.library.assets[one] for one, who in lab.made.who.items() if who == "Ann"]
        for asset in ann:
            best = asset is ann[5]
            side = 90 if best and by == "size" else 30
            vector = lab.made.vectors.pop(asset.faces[0].id)
            asset.faces, asset.width, asset.height = [], 400, 400
            face = lab.server.face((2, 2, 2 + side, 2 + side), 100, 100)
            lab.server.library.add_face(asset, face)
            length = 30 if best and by == "clarity" else 20
            lab.made.vectors[face.id] = vector / np.linalg.norm(vector) * length
        lab.best = ann[5].id        # type: ignore[attr-defined]
    with laboratory(tmp_path, fill=alike) as lab:
        assert lab.stage("--backup", lab.made.save(tmp_path), "--pictures", "1", "--dry-run").status == 0
        wanted = sqlite3.connect(lab.user_dir / "state.db").execute("SELECT id FROM assets WHERE outcome = 'wanted'")
        assert [one for one, in wanted if lab.made.who[one] == "Ann"] == [lab.best]


def test_a_face_that_immich_has_elsewhere_by_now_is_not_the_one_of_the_backup(tmp_path):
    with laboratory(tmp_path, fill=library) as lab:
        made = lab.made.save(tmp_path)
        moved, = (one for one, who in lab.made.who.items() if who == "stranger 3")
        lab.server.library.assets[moved].faces = [lab.server.face((0, 0, 45, 99), 100, 100),
                                                  lab.server.face((50, 0, 99, 99), 100, 100)]
        run = lab.stage("--backup", made, "--pictures", "10", "--min-face-px", "40")
        assert run.status == 0 and lab.made.staged() == {"Ann": 10, "Bob": 9, "unjudged": 3, "stranger 3": 1}
