"""export-swap: what a proposal says becomes facesets, all or none, and a person's hand is respected."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn import LOOKS, OPTIONS, contents, detect, face_of, library_photos, measured, person, proposal_of

from facesets.common.errors import Failure, Paused
from facesets.export import render, swap
from facesets.export.looks import Looks
from facesets.formats import cache
from facesets.formats.proposal import Face, Group
from facesets.formats.vectors import unit_mean
from facesets.library import folder as folders
from facesets.library.folder import read_record
from facesets.library.run import changing
from facesets.library.store import Library
from facesets.operations import edit, upkeep


@pytest.fixture
def world(tmp_path):
    """A library to fill, and a cache of three people with eight photos each and three photos of all."""
    return Library(tmp_path / "library"), library_photos(tmp_path / "photos", [1, 2, 3], 8, together=3)


def export(world, **options):
    library, faces = world
    return swap.export(library, options.pop("proposal", proposal_of(faces)), [faces], OPTIONS, **options)


def records(library: Library) -> dict[str, folders.Record]:
    return {item.folder: folders.read_record(item.path / "manifest.json") for item in library.canonical()}


def test_every_group_becomes_a_faceset_and_the_manifests_say_so(world) -> None:
    library, faces = world
    summary = export(world)
    assert summary.facesets == ["faceset_001", "faceset_002", "faceset_003"] and summary.counts["pictures"] == 24
    manifest = library.manifest()
    assert [entry.folder for entry in manifest.facesets] == summary.facesets and manifest.next_number == 4
    assert manifest.runs[0]["verb"] == "export-swap" and manifest.runs[0]["run"] == "20260101-000000-test"
    for folder, record in records(library).items():
        assert [item["rank"] for item in record.faces] == list(range(1, 9)) and len(record.top) == 8
        quality = [item["quality"] for item in record.faces]
        assert quality == sorted(quality, reverse=True)
        assert set(record.faces[0]["parts"]) == {"score", "size", "sharpness", "frontality", "symmetry"}
        assert sum(record.eras.values()) == 8 and record.users == {"anna": 8}
        for name, digest in record.files.items():
            assert folders.files.sha256_of(library.root / folder / name) == digest
    for item in library.canonical():
        mine = [face for face, row in enumerate(faces.faces) if f"p00{item.number}/" in faces.photos[row["photo"]].path]
        assert np.allclose(item.centroid, unit_mean(faces.embeddings[mine]), atol=1e-5)
        assert item.embeddings.shape == (8, 512) and len(item.face_keys) == 8


def test_the_same_proposal_again_adds_nothing(world) -> None:
    library, _ = world
    export(world)
    before = contents(library.root)
    opened = []
    again = swap.export(library, proposal_of(world[1]), [world[1]], swap.Options(lambda: opened.append(1)))
    assert again.facesets == [] and contents(library.root) == before and not opened


def test_numbers_are_never_given_twice_not_even_after_an_undo_or_a_drop(world) -> None:
    library, _ = world
    export(world)
    library.undo()
    assert export(world).facesets == ["faceset_004", "faceset_005", "faceset_006"]


def test_undo_gives_back_the_library_byte_for_byte(world) -> None:
    library, faces = world
    full = proposal_of(faces)
    export(world, proposal=replace(full, facesets=full.facesets[:1]))
    before = contents(library.root)
    export(world, proposal=replace(full, facesets=full.facesets[1:]))
    assert len(library.canonical()) == 3
    library.undo()
    assert contents(library.root) == before


def test_each_photo_is_decoded_once(world, tmp_path) -> None:
    _, faces = world
    seen: list[str] = []

    def read(path: str) -> np.ndarray:
        seen.append(path)
        return cv2.imread(path)
    wishes = {}
    for key, row in zip(cache.face_keys(faces), faces.faces, strict=True):
        wishes.setdefault(faces.photos[row["photo"]].path, []).append(render.Wish(key, tuple(map(float, row["box"]))))
    made = render.render(wishes, tmp_path / "pictures", LOOKS, 64, 0.5, read=read)
    assert sorted(seen) == sorted(set(seen)) and len(seen) == 27 and len(made) == 33


def test_a_photo_that_is_gone_is_a_reason_and_its_face_gets_a_picture_when_it_is_back(world) -> None:
    library, faces = world
    lost = Path(faces.photos[0].path)
    aside = lost.rename(lost.with_suffix(".aside"))
    export(world)
    record = records(library)["faceset_001"]
    assert len(record.faces) == 7 and "not there" in record.left_out[0]["reason"]
    assert len(library.canonical()[0].face_keys) == 8       # it is hers all the same
    aside.rename(lost)
    grow(world, "faceset_001", [])
    assert len(records(library)["faceset_001"].faces) == 7      # nothing new: nothing to do
    grow(world, "faceset_001", together(faces, 0))
    assert len(records(library)["faceset_001"].faces) == 11


@pytest.mark.parametrize("readable", [0, 1 / 3])
def test_photos_that_cannot_be_read_are_no_verdict_the_run_pauses(world, readable) -> None:
    library, faces = world
    folders = sorted({Path(photo.path).parent for photo in faces.photos[:24]})[int(3 * readable):]
    for folder in folders:
        folder.rename(folder.with_suffix(".away"))
    with pytest.raises(Paused, match=f"{8 * len(folders)} of 24 photos cannot be read.*share"):
        export(world)
    assert contents(library.root) == {}
    for folder in folders:
        folder.with_suffix(".away").rename(folder)
    assert export(world).counts == {"new": 3, "pictures": 24}


def test_a_share_that_goes_away_in_the_middle_is_noticed_by_the_few_photos_that_were_left(world) -> None:
    library, faces = world
    left = [Path(photo.path) for photo in faces.photos[:24]]

    def share_goes_away(bgr: np.ndarray):
        if detected.pop(0) == 20 and (folder := left[0].parents[1]).exists():
            folder.rename(folder.with_name("away"))
        return detect(bgr)
    detected = list(range(1000))
    with pytest.raises(Paused, match="share"):
        swap.export(library, proposal_of(faces), [faces],
                    swap.Options(lambda: Looks((share_goes_away,)), export_workers=1))
    assert contents(library.root) == {}


def test_a_group_short_of_photos_that_are_gone_waits_and_is_not_masked(world) -> None:
    library, faces = world
    for photo in faces.photos[:3]:
        Path(photo.path).unlink()
    summary = export(world, min_faces=6)
    keys = cache.face_keys(faces)
    assert summary.facesets == ["faceset_002", "faceset_003"] and not library.manifest().masked
    assert sorted(summary.waiting) == sorted(keys[:8])
    assert "1 more would be" in " ".join(summary.notes) and "001" not in contents(library.root)


def together(faces: cache.Cache, who: int) -> list[str]:
    """Keys of one person's faces in the photos of all."""
    keys = cache.face_keys(faces)
    return [keys[row] for row in range(24 + who, 33, 3)]


def grow(world, folder: str, keys: list[str]):
    known = replace(proposal_of(world[1], "20260102-000000-grow"), facesets=(),
                    extend={folder: tuple(Face(key) for key in keys)})
    return export(world, proposal=known)


def test_a_proposal_made_before_somebody_got_a_faceset_does_not_split_them_in_two(world) -> None:
    """Two users' refine.json, both made before the first of them was exported."""
    library, faces = world
    keys = cache.face_keys(faces)
    half = [replace(proposal_of(faces, f"20260101-00000{first}-half"), created="2026-01-01T00:00:00Z",
                    facesets=(Group(tuple(map(Face, keys[first:8:2]))),)) for first in (0, 1)]
    assert export(world, proposal=half[0], min_faces=4).counts["new"] == 1
    late = export(world, proposal=half[1], min_faces=4)
    assert len(library.canonical()) == 1 and late.counts["left_for_later"] == 1
    assert any("4 faces are of faceset_001" in note for note in late.notes)
    again = replace(half[1], created="2099-01-01T00:00:00Z")       # who knows the faceset means it
    assert export(world, proposal=again, min_faces=4).counts["new"] == 1


def test_pictures_of_one_moment_are_not_photos_that_wait(world, tmp_path) -> None:
    library, _ = world
    alike = library_photos(tmp_path / "alike", [5], 8)
    alike.embeddings[:] = [face_of(person(5), 700 + number, 0.3) for number in range(8)]
    run = swap.export(library, proposal_of(alike), [alike], OPTIONS)
    assert run.waiting == [] and run.counts["masked"] == 1
    assert "each moment once" in library.manifest().masked[0].reason


def test_extend_appends_and_keeps_number_name_and_old_pictures(world) -> None:
    library, faces = world
    export(world)
    (library.root / "faceset_002" / "NAME.txt").write_text("Frau B.\n")
    before = {path.read_bytes() for path in (library.root / "faceset_002").glob("*.png")}
    summary = grow(world, "faceset_002", together(faces, 1))
    after = records(library)["faceset_002"]
    assert summary.facesets == ["faceset_002"] and summary.counts["known_faces"] == 3
    assert after.number == 2 and len(after.faces) == 11
    assert before <= {path.read_bytes() for path in (library.root / "faceset_002").glob("*.png")}
    assert library.canonical()[1].name == "Frau B."
    assert {item["isolation"] for item in after.faces} == {"alone", "moved"}
    quality = [item["quality"] for item in after.faces]
    assert quality == sorted(quality, reverse=True)


def test_every_exported_picture_shows_exactly_one_face(world) -> None:
    library, faces = world
    export(world)
    for who, folder in enumerate(("faceset_001", "faceset_002", "faceset_003")):
        grow(world, folder, together(faces, who))
    pictures = sorted(library.root.glob("faceset_*/*.png"))
    assert len(pictures) == 33 and all(len(detect(cv2.imread(str(path)))[0]) == 1 for path in pictures)


def test_a_picture_that_a_person_deleted_stays_away_and_a_changed_one_stays_as_it_is(world) -> None:
    library, faces = world
    export(world)
    folder = library.root / "faceset_001"
    gone = records(library)["faceset_001"].faces[2]
    (folder / "0003.png").unlink()
    (folder / "0001.png").write_bytes(b"painted over by hand")
    (folder / "0009.png").write_bytes(b"a picture of my own")
    (folder / "notes.txt").write_text("aunt of Peter")
    summary = grow(world, "faceset_001", together(faces, 0))
    record = records(library)["faceset_001"]
    assert gone["face"] not in {item["face"] for item in record.faces}
    assert "deleted by hand" in next(item["reason"] for item in record.left_out if item["face"] == gone["face"])
    assert b"painted over by hand" in {path.read_bytes() for path in folder.glob("*.png")}
    assert (folder / "0009.png").read_bytes() == b"a picture of my own" and "0009.png" not in record.files
    assert (folder / "notes.txt").read_text() == "aunt of Peter"
    assert len(record.faces) == 10 and len({item["file"] for item in record.faces}) == 10
    assert sum("by hand" in note for note in summary.notes) == 2


def test_too_few_pictures_go_to_masked_and_too_few_faces_wait(world) -> None:
    library, faces = world
    for photo in faces.photos[:3]:
        cv2.imwrite(photo.path, np.zeros((480, 640, 3), np.uint8) + int(photo.taken_at[3]))   # no face to be seen
    full = proposal_of(measured(faces))
    few = replace(full.facesets[2], faces=full.facesets[2].faces[:4])
    summary = export(world, proposal=replace(full, facesets=(*full.facesets[:2], few)))
    assert [entry.folder for entry in library.manifest().masked] == ["_masked/faceset_001"]
    assert "5 of 8 faces" in library.manifest().masked[0].reason
    assert summary.counts["left_for_later"] == 1 and len(library.canonical()) == 1
    assert any("4 of its 4 faces show a moment of their own, 6 are needed" in note for note in summary.notes)
    assert export(world, proposal=full).facesets == ["faceset_003"]     # the masked one is not made again


def test_the_top_ones_are_neither_enlarged_nor_cleaned_where_others_are_there(tmp_path) -> None:
    faces, library = library_photos(tmp_path / "photos", [1], 10), Library(tmp_path / "library")
    faces.faces["face_short"][0] = 60                   # the best two, but for that
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    folder = library.root / "faceset_001"
    record = read_record(folder / "manifest.json")
    cleaned, enlarged = record.faces[0]["face"], record.faces[-1]["face"]
    assert enlarged == cache.face_keys(faces)[0]
    record.faces[0]["isolation"] = "cleaned"
    folders.write_record(folder / "manifest.json", record)
    with changing(library, "refine") as run:
        upkeep.refine(run, [], OPTIONS)
    record = read_record(folder / "manifest.json")
    assert [item["face"] for item in record.faces[-2:]] == [cleaned, enlarged]
    assert {item["file"] for item in record.faces[:-2]} == set(record.top)


def test_candidates_go_to_thin_once(world) -> None:
    library, faces = world
    full = proposal_of(faces)
    thin = replace(full, facesets=(), thin=tuple(replace(group, reason="4 faces, 6 are needed")
                                                 for group in full.facesets[:1]))
    made = export(world, proposal=thin).facesets
    assert len(made) == 1 and made[0].startswith("_thin/thin_") and not library.canonical()
    assert export(world, proposal=thin).facesets == []


def test_faces_of_another_recogniser_are_refused(world) -> None:
    library, faces = world
    export(world)
    other = replace(faces, model=replace(faces.model, sha256="f" * 64, name="other"))
    before = contents(library.root)
    with pytest.raises(Failure, match="drawn"):
        swap.export(library, proposal_of(other), [other], OPTIONS)
    assert contents(library.root) == before


def test_a_face_that_no_cache_has_stops_the_run_before_anything_changes(world) -> None:
    library, faces = world
    full = proposal_of(faces)
    wrong = replace(full.facesets[1], faces=(Face("0" * 64 + "@1,2,3,4"),))
    with pytest.raises(Failure, match="in none of the caches"):
        export(world, proposal=replace(full, facesets=(full.facesets[0], wrong)))
    assert contents(library.root) == {} and not (library.root / ".pending").exists()


def test_a_dry_run_makes_no_picture_and_changes_nothing(world) -> None:
    library, faces = world
    opened = []
    summary = swap.export(library, proposal_of(faces), [faces], swap.Options(lambda: opened.append(1)), dry_run=True)
    assert summary.facesets == ["faceset_001", "faceset_002", "faceset_003"]
    assert summary.counts["pictures_at_most"] == 24
    assert contents(library.root) == {} and not opened


def test_a_full_disk_pauses_and_leaves_the_library_as_it_was(world) -> None:
    library, _ = world
    full = OSError(28, "No space left on device")

    def broken(_: np.ndarray):
        raise full
    with pytest.raises(Paused, match="full"):
        swap.export(library, proposal_of(world[1]), [world[1]], swap.Options(lambda: Looks((broken,))))
    assert contents(library.root) == {} and not (library.root / ".pending").exists()


def test_the_same_run_gives_the_same_bytes(world, tmp_path) -> None:
    _, faces = world
    for name in ("one", "two"):
        swap.export(Library(tmp_path / name), proposal_of(faces), [faces], OPTIONS)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    for side in (one, two):     # the time of the run stands in the top manifest, and nowhere else
        value = json.loads(side.pop("manifest.json"))
        value["runs"][0].pop("at")
        side["manifest.json"] = json.dumps(value).encode()
    assert one == two


CHILD = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from drawn import LOOKS, OPTIONS, detect, proposal_of
from facesets.formats import cache
from facesets.export.looks import Looks
from facesets.export import swap
from facesets.library.store import Library
faces = cache.read(Path(sys.argv[3]))
print("ready", flush=True)
swap.export(Library(Path(sys.argv[4])), proposal_of(faces), [faces], OPTIONS)
"""


def test_an_export_killed_at_random_leaves_the_library_before_or_after(world, tmp_path, checkout) -> None:
    """SIGKILL at instants spread over the run; TRUST_ROUNDS says how many."""
    library, faces = world
    full = proposal_of(faces)
    export(world, proposal=replace(full, facesets=full.facesets[:1]))
    cache.write(tmp_path / "cache.npz", faces)
    before = contents(library.root)
    command = [sys.executable, "-c", CHILD, str(checkout), str(checkout / "tests"), str(tmp_path / "cache.npz"),
               str(library.root)]
    rounds, outcomes = int(os.environ.get("TRUST_ROUNDS", "6")), []
    for number in range(rounds):
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout and child.stdout.readline() == b"ready\n"
        time.sleep(0.6 * number / rounds)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        now = Library(library.root)
        folders_now = [item.folder for item in now.canonical()]
        if len(folders_now) == 3:
            outcomes.append("after")
            assert set(contents(library.root)) > set(before)
            now.undo()
        else:
            outcomes.append("before")
        assert contents(library.root) == before, f"round {number}: {outcomes}"
        with now.locked("the next command"):
            assert not list(library.root.rglob("*.tmp")) and not (library.root / ".pending").exists()
    assert "before" in outcomes


def test_what_a_person_changed_in_top8_stays_and_what_nobody_changed_is_no_persons(tmp_path) -> None:
    faces = library_photos(tmp_path / "photos", [1], 12)
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    top = library.root / "faceset_001" / "top8"
    first, second, *_ = sorted(top.iterdir())
    (tmp_path / "mine").write_bytes(b"as I want it")
    os.replace(tmp_path / "mine", first)
    shutil.copy(second, tmp_path / "copy")      # a disk without links
    os.replace(tmp_path / "copy", second)
    record = read_record(library.root / "faceset_001" / "manifest.json")
    with changing(library, "not-this") as run:
        edit.not_this(run, "1", [record.faces[1]["face"]], OPTIONS)
    record = read_record(library.root / "faceset_001" / "manifest.json")
    assert first.read_bytes() == b"as I want it"
    assert {path.name for path in top.iterdir()} == {*record.top, first.name}


def test_the_other_picture_of_a_moment_comes_back_when_the_better_one_goes(tmp_path) -> None:
    faces = library_photos(tmp_path / "photos", [1], 9)
    first = faces.embeddings[0]
    apart = person(77) - (person(77) @ first) * first
    faces.embeddings[1] = 0.93 * first + np.sqrt(1 - 0.93 ** 2) * apart / np.linalg.norm(apart)
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    place = library.root / "faceset_001" / "manifest.json"
    better, other = (cache.face_keys(faces)[row] for row in (0, 1))
    assert better in {item["face"] for item in read_record(place).faces}
    assert [item["face"] for item in read_record(place).left_out] == [other]
    with changing(library, "refine") as run:        # and not a moment earlier
        upkeep.refine(run, [], OPTIONS)
        assert not run.facesets
    with changing(library, "not-this") as run:
        # alone: `not-this` would take along whom it looks like
        edit.take_out(run, edit.find(run.manifest, "1"), {better}, OPTIONS)
    assert other in {item["face"] for item in read_record(place).faces}
