"""A walk through every subcommand on real, labelled photos: two users, hand-sorted folders first, and a real detector.

The photos lie in ../shared, so this is skipped where that is absent; test_library_operations.py walks on drawn people.
"""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import pytest
from busy import LIMIT
from drawn import contents
from PIL import Image

import cluster_immich
import config
import embed_worker
import sort_faces
from facesets.common import files
from facesets.embed import pipeline
from facesets.formats import cache
from facesets.formats import queue as queues
from facesets.library import folder as folders
from facesets.library.store import Library

A, B, C, D, E = "Gerhard_Schroeder", "Jacques_Chirac", "Jennifer_Aniston", "Madonna", "Arnold_Schwarzenegger"


class Walk:
    """One operator's machine: a data root, a library, and the commands as they are typed."""

    def __init__(self, place: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.people = place, shared / "photos" / "people"
        self.work, self.library = place / "work", Library(place / "library")
        for name, value in (("DATA_ROOT", self.work), ("LIBRARY", self.library.root), ("PROVIDER", "cpu"),
                            ("MODEL", shared / "models" / "insightface_small")):
            monkeypatch.setenv(f"FACESETS_{name}", str(value))

    def photos(self, who: str, first: int, last: int) -> list[Path]:
        return sorted((self.people / who).glob("*.jpg"))[first:last]

    def run(self, *words: object) -> None:
        assert sort_faces.main([str(word) for word in words]) == 0, words

    def ask(self, capsys: pytest.CaptureFixture[str], *words: object):
        capsys.readouterr()
        self.run(*words, "--json")
        return json.loads(capsys.readouterr().out)

    def user(self, label: str, photos: list[Path], year: int) -> None:
        """What stage and embed leave of a user, and then clustering."""
        entries = []
        for number, path in enumerate(photos):
            sha256 = files.sha256_of(path)
            entries.append(queues.Entry(f"{label}-{number}", str(path), "", sha256, path.stat().st_size,
                                         taken_at=f"{year + number % 3}-05-01T10:00:00"))
        queue = self.work / "immich" / label / "queue.json"
        queues.write(queue, queues.Queue(label, "http://photos.example.org", tuple(entries)))
        out = self.work / "cache" / f"immich_{label}.npz"
        assert embed_worker.main(["--queue", str(queue), "--out", str(out)]) == 0
        assert cluster_immich.main(["--user", label]) == 0

    def record(self, who: str) -> folders.Record:
        """The manifest of the faceset that is mostly this person's."""
        return max((folders.read_record(item.path / "manifest.json") for item in self.library.canonical()),
                   key=lambda record: sum(who in face["photo"] for face in record.faces))

    def of(self, who: str) -> int:
        return sum(who in face["photo"] for face in self.record(who).faces)


def hand_sorted(walk: Walk) -> Path:
    """Two people, a bystander in the first folder, and a folder of both; with dates, as cameras write them."""
    hand = walk.place / "hand"
    plan = {A: walk.photos(A, 0, 5) + walk.photos(D, 0, 1), B: walk.photos(B, 0, 5),
            "holiday": walk.photos(A, 5, 7) + walk.photos(B, 5, 7)}
    for folder, photos in plan.items():
        (hand / folder).mkdir(parents=True)
        for number, path in enumerate(photos):
            exif = Image.Exif()
            exif.get_ifd(0x8769)[36867] = f"{1998 + 2 * number}:07:14 12:00:00"
            Image.open(path).save(hand / folder / path.name, quality=95, exif=exif)
    return hand


def test_a_walk_through_every_subcommand(tmp_path, shared, monkeypatch, capsys) -> None:
    walk = Walk(tmp_path, shared, monkeypatch)
    library = walk.library

    # hand-sorted folders come first: two people with their names, the bystander is nobody, the holiday is shared out
    hand = hand_sorted(walk)
    found = walk.ask(capsys, "import-folders", hand)
    assert found["counts"]["new"] == 2 and any("holiday is mixed" in note for note in found["notes"])
    assert {item.name for item in library.canonical()} == {A, B}
    assert walk.of(A) >= 6 and walk.of(B) >= 6 and walk.record(A).eras["1998"]
    assert not any(D in face["photo"] for face in walk.record(A).faces)

    # a folder of one's own again: nothing is new
    assert walk.ask(capsys, "embed", hand)["done_before"] == 10 + 5

    # two users: known people are known, new ones become facesets, and what is known is appended
    walk.user("anna", walk.photos(A, 8, 12) + walk.photos(C, 0, 8), 2005)
    assert len(library.canonical()) == 3 and walk.of(C) >= 7 and not walk.record(C).name
    walk.user("bert", walk.photos(C, 8, 12) + walk.photos(E, 0, 8), 2016)
    assert len(library.canonical()) == 4 and walk.of(E) >= 7
    walk.run("extend")
    assert walk.of(A) >= 10 and walk.of(C) >= 10 and walk.record(C).users.keys() == {"anna", "bert"}
    state = contents(library.root)
    walk.run("extend")
    assert cluster_immich.main(["--user", "bert"]) == 0
    assert contents(library.root) == state      # again adds nothing

    # every face of every faceset is the person's, and alone in its picture
    embedding = config.load(config.Embedding)
    detector = pipeline.load(embedding.model, embedding.models_dir, embedding.provider)
    for item in library.canonical():
        record = folders.read_record(item.path / "manifest.json")
        assert len(Counter(Path(face["photo"]).stem.rsplit("_", 1)[0] for face in record.faces)) == 1
        for face in record.faces[:4]:
            assert len(detector.detect(cv2.imread(str(item.path / face["file"])))[0]) == 1

    # caches of all users into one, which proposes nothing new either
    caches = sorted((walk.work / "cache").glob("immich_*.npz"))
    walk.run("merge", *caches, walk.work / "cache" / "nl_full.npz")
    assert len(cache.read(walk.work / "cache" / "nl_full.npz").photos) == 10 + 5 + 24
    walk.run("cluster")
    walk.run("export-swap")
    assert contents(library.root) == state

    walk.run("export-training", "--for", "folders", "--out", walk.work / "for_others")
    assert len({path.parent for path in (walk.work / "for_others").glob("*/*.png")}) == len(library.canonical())
    walk.run("export-regions", "--out", walk.work / "sidecars")
    assert contents(library.root) == state

    # a person in two times of her life
    number = walk.record(C).number
    walk.run("split-eras", number, "--min-faces", 3, "--era-distance", 0.7)
    assert [entry.folder for entry in library.manifest().eras] == [
        f"faceset_{number:03d}_2005_2007", f"faceset_{number:03d}_2016_2018"]

    # a wrong face goes, and stays away
    wrong = walk.record(A).faces[0]
    walk.run("not-this", walk.record(A).number, "0001.png")
    for verb in ("extend", "refine", "enrich", "dedup"):
        walk.run(verb)
    assert wrong["face"] not in json.dumps([walk.record(A).faces, walk.record(A).left_out])
    told = walk.ask(capsys, "why", wrong["photo"])
    assert any("somebody else" in line["what"] for line in told)

    # names, look-alikes, leaving and coming back
    walk.run("name", walk.record(E).folder, "Frau E.")
    before = contents(library.root)
    walk.run("drop", "Frau E.")
    walk.run("cluster")
    walk.run("export-swap")     # she does not come back by herself
    assert E not in {item.name for item in library.canonical()} and len(library.canonical()) == 3
    walk.run("undo")
    assert contents(library.root) == before
    assert walk.ask(capsys, "consolidate") == {"proposed": []}
    assert walk.ask(capsys, "status")["library"]["facesets"] == 4

    # forgotten for good; a bystander in her photos is not hers
    hers = next(item for item in library.canonical() if item.name == "Frau E.")
    gone = set(hers.face_keys)
    walk.run("forget", "Frau E.", "--yes")
    left = b"".join(path.read_bytes() for path in walk.library.root.rglob("*") if path.is_file())
    assert b"Frau E." not in left and len(library.canonical()) == 3
    for path in (walk.work / "cache").glob("*.npz"):
        one = cache.read(path)
        assert not gone & set(cache.face_keys(one)), path
        assert (1 - one.embeddings @ hers.centroid).min() > one.model.known_distance, path
    walk.run("cluster")
    assert walk.ask(capsys, "status")["library"]["facesets"] == 3


def test_the_script_is_typed_as_the_manual_says(tmp_path, checkout) -> None:
    environment = {**os.environ, "FACESETS_DATA_ROOT": str(tmp_path / "work"),
                   "FACESETS_LIBRARY": str(tmp_path / "library")}

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, str(checkout / "sort_faces.py"), *words], capture_output=True, text=True,
                              cwd=tmp_path, env=environment, check=False)
    manual = typed("--help")
    assert manual.returncode == 0
    for verb in sort_faces.VERBS:
        assert verb in manual.stdout, f"{verb} is not in the manual"
    assert typed().returncode == 64 and "Corrections" in typed().stderr
    assert typed("--version").stdout.startswith("face-sets 0.")
    assert typed("nonsense").returncode == 64 and typed("name", "1").returncode == 64
    status = typed("status")
    assert status.returncode == 0 and "nothing here yet" in status.stdout
    assert typed("undo").returncode == 1 and typed("extend").returncode == 1
    assert not [line for line in typed("export-swap").stderr.splitlines() if "Traceback" in line]
    shutil.rmtree(tmp_path / "library", ignore_errors=True)


@pytest.mark.parametrize("words", [
    *((script, "--help") for script in ("immich_stage.py", "embed_worker.py", "cluster_immich.py", "config.py")),
    *(("sort_faces.py", *verb, "--help") for verb in ((), *((verb,) for verb in sort_faces.VERBS)))])
def test_the_manual_fits_a_terminal_of_80_columns(words, checkout, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    script, *rest = words
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(checkout / script))["main"](rest)
    told = capsys.readouterr().out.replace(str(checkout), "")
    assert ended.value.code == 0 and max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("script", ["immich_stage.py", "cluster_immich.py", "sort_faces.py"])
def test_a_script_that_is_told_nothing_shows_its_manual(script, checkout, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert runpy.run_path(str(checkout / script))["main"]([]) == 64
    told = capsys.readouterr().err
    assert "usage: " in told and "Exit    0 done" in told and f"`{script} --help` is the manual" in told


def test_the_driver_tells_its_version_and_its_manual_fits_80_columns(checkout) -> None:
    def typed(*words: str) -> str:
        return subprocess.run(["bash", str(checkout / "finalize_immich.sh"), *words], check=True, capture_output=True,
                              text=True, timeout=LIMIT).stdout
    assert re.fullmatch(r"face-sets \d[\w.]*\n", typed("--version"))
    manual = typed("--help")
    assert "--setup-windows" in manual and "Exit    0 done" in manual and max(map(len, manual.splitlines())) <= 80


def test_every_verb_has_its_place_in_the_manual() -> None:
    assert {verb.group for verb in sort_faces.VERBS.values()} == set(sort_faces.GROUPS)


@pytest.mark.parametrize("verb", sorted(sort_faces.VERBS))
def test_every_verb_has_a_manual_and_takes_json(verb, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        sort_faces.main([verb, "--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0 and "--json" in told and "--library" in told
    assert f"Example  python sort_faces.py {verb}" in told
    changes = verb not in ("review", "export-training", "export-regions", "status", "why", "report", "calibrate",
                           "immich-names")
    assert ("--dry-run" in told) == changes
