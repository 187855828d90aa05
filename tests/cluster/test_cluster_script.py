"""cluster_immich.py as the operator runs it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from busy import LIMIT
from drawn import OPTIONS, library_photos, proposal_of
from killing import killed

import cluster_immich
from facesets.common import files
from facesets.export import swap
from facesets.formats import cache, distances, proposal
from facesets.formats import queue as queues
from facesets.library.store import Library

MODEL = cache.Model("made_up", "a" * 64, "b" * 64, 32, 0.45, 0.55)


def run(checkout: Path, root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(checkout / "cluster_immich.py"), "--data-root", str(root / "work"),
                           "--library", str(root / "library"), *args], capture_output=True, text=True, timeout=LIMIT,
                          check=False)


def made_up_cache(path: Path, sizes: tuple[int, ...] = (9, 7, 4, 1), names: tuple[str, ...] = (),
                  dimension: int = 32) -> None:
    """`names`: what Immich calls the first faces."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.linalg.qr(rng.standard_normal((dimension, len(sizes))))[0].T
    rows = centres[who] + 0.1 * rng.standard_normal((len(who), dimension))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    faces = np.zeros(len(who), cache.FACE)
    faces["photo"], faces["det_score"], faces["face_short"], faces["blur"] = np.arange(len(who)), 0.9, 120, 99
    faces["box"] = [0, 0, 120, 120]
    photos = [cache.Photo(f"/nowhere/{number}.jpg", f"{number:064x}", "faces") for number in range(len(who))]
    called = names or ("\x1b[2JEva",) * sizes[0]
    persons = [cache.Person(name, name) for name in (*called, *[""] * (len(who) - len(called)))]
    model = replace(MODEL, dimension=dimension)
    cache.write(path, cache.Cache(model, photos, faces, rows, np.ones(len(who), np.float32), persons))


def test_a_dry_run_writes_the_proposal_and_touches_no_faceset(checkout: Path, tmp_path: Path) -> None:
    made_up_cache(tmp_path / "work" / "cache" / "immich_eva.npz")
    done = run(checkout, tmp_path, "--user", "eva", "--dry-run", "--json")
    assert done.returncode == 0 and not re.search("^ +0 ", done.stderr, re.M), done.stderr
    summary = json.loads(done.stdout)
    assert (summary["faces"], summary["facesets"], summary["thin_facesets"], summary["leftover"]) == (21, 2, 1, 1)
    parts = ("held", "known", "dropped", "ambiguous", "rejected", "new", "thin", "leftover")
    assert sum(summary[part] for part in parts) == summary["faces"]
    made = proposal.read(tmp_path / "work" / "immich" / "eva" / "refine.json")
    assert [len(group.faces) for group in made.facesets] == [9, 7]
    assert not (tmp_path / "library").exists() and "\x1b" not in done.stderr
    assert not (tmp_path / "work" / "immich" / "eva" / "clustered.json").exists()


def test_two_names_for_one_faceset_are_shown_and_none_is_proposed(checkout: Path, tmp_path: Path) -> None:
    made_up_cache(tmp_path / "work" / "cache" / "immich_eva.npz", names=("Eva",) * 4 + ("Ida",) * 4)
    done = run(checkout, tmp_path, "--user", "eva", "--dry-run", "--json")
    assert "one faceset of 9 faces has several names in Immich: Eva (4), Ida (4)" in done.stderr
    assert json.loads(done.stdout)["name_conflicts"] == [{"faces": 9, "names": {"Eva": 4, "Ida": 4}}]
    made = proposal.read(tmp_path / "work" / "immich" / "eva" / "refine.json")
    assert [group.proposed_name for group in made.facesets] == ["", ""]


def test_who_is_seen_seldom_by_each_user_and_often_by_both_gets_a_faceset(checkout: Path, tmp_path: Path) -> None:
    made_up_cache(tmp_path / "both.npz", sizes=(9, 4))
    both, folder = cache.read(tmp_path / "both.npz"), tmp_path / "work" / "cache"
    for user, first in (("eva", 0), ("ida", 1)):
        rows = np.arange(first, 13, 2)
        faces = both.faces[rows].copy()
        faces["photo"] = np.arange(len(rows))
        photos = [replace(both.photos[row], user=user) for row in rows]
        cache.write(folder / f"immich_{user}.npz", replace(
            both, photos=photos, faces=faces, embeddings=both.embeddings[rows], norms=both.norms[rows],
            persons=[both.persons[row] for row in rows]))
    cache.write(folder / "other_model.npz", replace(both, model=replace(MODEL, sha256="c" * 64)))
    (folder / "damaged.npz").write_bytes(b"half a file")
    whole = bytearray((tmp_path / "both.npz").read_bytes())
    whole[whole.index(both.embeddings.tobytes()) + 100] ^= 1        # a bad sector
    (folder / "one_byte.npz").write_bytes(whole)
    alone = run(checkout, tmp_path, "--user", "eva", "--cache", str(folder / "immich_eva.npz"), "--dry-run", "--json")
    assert json.loads(alone.stdout)["facesets"] == 0, alone.stderr
    done = run(checkout, tmp_path, "--user", "ida", "--dry-run", "--json")
    assert json.loads(done.stdout)["new_by_user"] == {"eva": 5, "ida": 4}
    assert "their faces: 5 of eva, 4 of ida" in done.stderr and "without damaged.npz: " in done.stderr
    assert "without one_byte.npz: " in done.stderr


@pytest.mark.parametrize(("args", "status", "message"), [
    (("--user", "nobody"), 1, "does not exist; run embed_worker.py"),
    (("--user", "../x"), 64, "no user label"),
    ((), 64, "--user"),
    (("--user", "eva", "--min-faces", "many"), 78, "--min-faces"),
])
def test_failures_are_one_line_and_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...],
                                            status: int, message: str) -> None:
    assert cluster_immich.main(["--data-root", str(tmp_path / "work"), *args]) == status
    said = capsys.readouterr().err
    assert message in said and len(said.strip().splitlines()) == 1


def test_what_another_users_run_saw_in_facesets_makes_facesets_again_once_those_are_undone(
        checkout: Path, tmp_path: Path) -> None:
    caches, library = tmp_path / "work" / "cache", Library(tmp_path / "library")
    faces = library_photos(tmp_path / "photos", [1, 2], 8)
    cache.write(caches / "immich_anna.npz", faces)
    cache.write(caches / "immich_ida.npz", library_photos(tmp_path / "more", [3], 1, "ida"))
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    done = run(checkout, tmp_path, "--user", "ida", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["held"] == 16, done.stderr
    library.undo()
    done = run(checkout, tmp_path, "--user", "anna", "--dry-run", "--json")
    assert json.loads(done.stdout)["facesets"] == 2, done.stderr


def test_a_second_run_at_the_same_time_is_refused(checkout: Path, tmp_path: Path) -> None:
    made_up_cache(tmp_path / "work" / "cache" / "immich_eva.npz")
    with files.only_one(tmp_path / "work" / "cluster.lock", "the first"):
        done = run(checkout, tmp_path, "--user", "eva", "--dry-run")
    assert done.returncode == 2 and "the first" in done.stderr


def test_too_few_faces_to_tell_distances_by_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up_cache(tmp_path / "one.npz")
    assert cluster_immich.main(["--user", "eva", "--cache", str(tmp_path / "one.npz"), "--data-root",
                                str(tmp_path / "work"), "--library", str(tmp_path / "library"), "--dry-run"]) == 0
    assert "too few faces to tell its distances by, so known 0.45 and cluster 0.55" in capsys.readouterr().err


def test_thresholds_come_from_the_flag_then_from_the_model(tmp_path: Path) -> None:
    made_up_cache(tmp_path / "one.npz")
    for flag, known in (((), 0.45), (("--known-distance", "0.3"), 0.3)):
        assert cluster_immich.main(["--user", "eva", "--cache", str(tmp_path / "one.npz"), "--data-root",
                                    str(tmp_path / "work"), "--library", str(tmp_path / "library"), "--dry-run",
                                    *flag]) == 0
        made = proposal.read(tmp_path / "work" / "immich" / "eva" / "refine.json")
        assert (made.settings["known_distance"], made.settings["cluster_distance"]) == (known, 0.55)


def test_what_was_measured_of_a_recogniser_counts_whatever_its_cache_recorded_before(tmp_path: Path) -> None:
    path, (sha256, measured) = tmp_path / "one.npz", list(distances.MODELS.items())[1]
    made_up_cache(path)
    old = cache.read(path)
    cache.write(path, replace(old, model=replace(old.model, sha256=sha256)))
    assert cluster_immich.main(["--user", "eva", "--cache", str(path), "--data-root", str(tmp_path / "work"),
                                "--library", str(tmp_path / "library"), "--dry-run"]) == 0
    made = proposal.read(tmp_path / "work" / "immich" / "eva" / "refine.json")
    assert (made.settings["known_distance"], made.settings["cluster_distance"]) == (
        measured.known_distance, measured.cluster_distance) != (old.model.known_distance, old.model.cluster_distance)


def test_a_pack_without_distances_gets_those_of_the_strangers_and_says_so(checkout: Path, tmp_path: Path) -> None:
    made_up_cache(tmp_path / "work" / "cache" / "immich_eva.npz", sizes=(9, *[1] * 300), dimension=400)
    done = run(checkout, tmp_path, "--user", "eva", "--dry-run")
    assert done.returncode == 0 and "as the strangers among these faces give them, known 0.6 and clus" in done.stderr
    made = proposal.read(tmp_path / "work" / "immich" / "eva" / "refine.json")
    assert (made.settings["known_distance"], made.settings["cluster_distance"]) == (0.6, 0.7)
    assert (made.model["known_distance"], made.model["cluster_distance"]) == (0.6, 0.7)     # so that the export agrees


def labelled(shared: Path, people: int, each: int) -> list[Path]:
    folders = sorted(path for path in (shared / "photos" / "people").iterdir()
                     if path.is_dir() and len(list(path.glob("*.jpg"))) >= each)
    return [photo for folder in folders[:people] for photo in sorted(folder.glob("*.jpg"))[:each]]


def real_people(shared: Path, tmp_path: Path, paths: list[Path]) -> list[str]:
    """A cache of these photos; the arguments of a run on it."""
    from facesets.embed import decode, packs
    from facesets.embed.analyser import Analyser
    pack = shared / "models" / "insightface_small"
    analyser = Analyser(packs.open_pack(str(pack), tmp_path), "cpu", (0.55, 0.65))
    photos, found = [], []
    for number, path in enumerate(paths):
        bgr = decode.read_upright(path)
        boxes, scores, landmarks = analyser.detect(bgr)
        embeddings = analyser.embed(bgr, landmarks)
        photos.append(cache.Photo(str(path), files.sha256_of(path), "faces"))
        found += [(number, *face) for face in zip(boxes, scores, landmarks, embeddings, strict=True)]
    faces = np.zeros(len(found), cache.FACE)
    faces["photo"], faces["box"], faces["det_score"], faces["landmarks"] = (
        [face[column] for face in found] for column in range(4))
    faces["face_short"], faces["blur"] = (faces["box"][:, 2:] - faces["box"][:, :2]).min(axis=1), 99
    raw = np.array([face[4] for face in found], np.float32)
    norms = np.linalg.norm(raw, axis=1)
    cache.write(tmp_path / "work" / "cache" / "immich_eva.npz",
                cache.Cache(analyser.model, photos, faces, raw / norms[:, None], norms))
    return ["--user", "eva", "--data-root", str(tmp_path / "work"), "--library", str(tmp_path / "library"),
            "--model", str(pack), "--provider", "cpu", "--json"]


def test_who_waits_for_photos_is_not_lost_where_the_run_is_killed_once_the_others_have_facesets(
        shared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths = []
    for number, path in enumerate(labelled(shared, people=3, each=9)):
        paths.append(tmp_path / "photos" / str(number) / path.name)
        paths[-1].parent.mkdir(parents=True)
        shutil.copy(path, paths[-1])
    command = real_people(shared, tmp_path, paths)
    for path in paths[:5]:      # few enough to have been deleted
        path.rename(path.with_suffix(".away"))

    def run_killed() -> None:
        """Before it writes what it has looked at."""
        sys.addaudithook(lambda event, what: os.kill(os.getpid(), signal.SIGKILL) if event == "os.rename"
                         and str(what[1]).endswith("/clustered.json") else None)
        cluster_immich.main(command)
    assert killed(run_killed, 0)
    assert len(Library(tmp_path / "library").canonical()) == 2
    for path in paths[:5]:
        path.with_suffix(".away").rename(path)
    assert cluster_immich.main(command) == 0, capfd.readouterr().err
    assert len(Library(tmp_path / "library").canonical()) == 3


def test_real_people_become_facesets_once(shared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    share = tmp_path / "share"
    share.symlink_to(shared)
    command = real_people(shared, tmp_path, labelled(share, people=3, each=9))
    share.rename(tmp_path / "away")
    assert cluster_immich.main(command) == 2
    assert "is the share with the photos mounted?" in capfd.readouterr().err
    assert not (tmp_path / "work" / "immich" / "eva" / "clustered.json").exists()
    (tmp_path / "away").rename(share)
    assert cluster_immich.main(command) == 0
    first = json.loads(capfd.readouterr().out)
    facesets = sorted((tmp_path / "library").glob("faceset_*"))
    assert first["facesets"] == 3 and [path.name for path in facesets] == ["faceset_001", "faceset_002", "faceset_003"]

    before = {path: zlib.crc32(path.read_bytes()) for path in (tmp_path / "library").rglob("*.*") if path.is_file()}
    assert cluster_immich.main(command) == 0
    again = json.loads(capfd.readouterr().out)
    assert again["facesets"] == 0 and again["held"] > 20
    assert {path: zlib.crc32(path.read_bytes()) for path in before} == before
    assert sorted((tmp_path / "library").glob("faceset_*")) == facesets


def test_photos_that_nobody_staged_and_no_cache_of_the_model_has_are_said(checkout: Path, tmp_path: Path) -> None:
    own = tmp_path / "work" / "cache" / "immich_eva.npz"
    made_up_cache(own)
    known = (queues.Known("1", "a.jpg", cache.read(own).photos[0].sha256), queues.Known("2", "b.jpg", "f" * 64))
    queues.write(tmp_path / "work" / "immich" / "eva" / "queue.json", queues.Queue("eva", "", (), known))
    done = run(checkout, tmp_path, "--user", "eva", "--dry-run")
    assert "1 photos of eva that somebody else had" in done.stderr, done.stderr
