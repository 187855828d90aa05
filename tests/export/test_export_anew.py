"""Pictures that an earlier version made are made anew by `refine`, and what a person did stays."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn import OPTIONS, contents, library_photos, proposal_of
from killing import killed, steps

from facesets.common import files
from facesets.common.errors import Failure
from facesets.export import crop, render, swap
from facesets.export.looks import Looks
from facesets.library.folder import Record, read_record
from facesets.library.run import changing
from facesets.library.store import Library
from facesets.operations import edit, upkeep

SLAB = np.full((512, 512, 3), 40, np.uint8)


@pytest.fixture
def world(tmp_path):
    """A library of two people with seven photos each, as an earlier version left it, and their cache."""
    faces, library = library_photos(tmp_path / "photos", [1, 2], 7), Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    age(library)
    return library, faces


def age(library: Library) -> None:
    for folder in sorted(library.root.glob("faceset_*")):
        record = json.loads((folder / "manifest.json").read_text())
        for entry in record["faces"]:
            (folder / entry["file"]).unlink()
            cv2.imwrite(str(folder / entry["file"]), SLAB)
            record["files"][entry["file"]] = files.sha256_of(folder / entry["file"])
            entry["isolation"] = "masked"
            del entry["rules"], entry["look"]
        (folder / "manifest.json").write_text(json.dumps(record))


def record_of(library: Library, folder: str) -> Record:
    return read_record(library.root / folder / "manifest.json")


def refine(world, *facesets: str, options: swap.Options = OPTIONS) -> swap.Run:
    with changing(world[0], "refine") as run:
        upkeep.refine(run, facesets, options)
    return run


def is_slab(path: Path) -> bool:
    return not np.ptp(cv2.imread(str(path)))


def test_every_picture_of_older_rules_is_made_anew_once_and_the_summary_says_so(world) -> None:
    library, _ = world
    run = refine(world)
    assert run.counts["pictures_made_anew"] == 14 and run.counts["changed"] == 2
    for folder in ("faceset_001", "faceset_002"):
        record = record_of(library, folder)
        assert {(face["isolation"], face["rules"]) for face in record.faces} == {("alone", crop.RULES)}
        assert len(record.faces) == 7 and not any(is_slab(library.root / folder / name) for name in record.top)
    before = contents(library.root)
    assert refine(world).facesets == [] and contents(library.root) == before


def test_what_a_person_deleted_or_changed_and_what_lost_its_photo_stays_as_it_is(world) -> None:
    library, _ = world
    folder, faces = library.root / "faceset_001", record_of(library, "faceset_001").faces
    (folder / faces[0]["file"]).unlink()
    cv2.imwrite(str(folder / faces[1]["file"]), SLAB + 99)
    (folder / "top8" / "mine.png").write_bytes(b"mine")
    Path(faces[2]["photo"]).unlink()
    assert refine(world).counts["pictures_made_anew"] == 11
    record = record_of(library, "faceset_001")
    now = {face["face"]: face for face in record.faces}
    assert faces[0]["face"] not in now and (folder / "top8" / "mine.png").read_bytes() == b"mine"
    edited, lost = now.pop(faces[1]["face"]), now.pop(faces[2]["face"])
    assert (cv2.imread(str(folder / edited["file"])) == SLAB + 99).all() and is_slab(folder / lost["file"])
    assert len(now) == 4 and not any(is_slab(folder / face["file"]) for face in now.values())
    assert refine(world).facesets == []


def test_a_picture_whose_photo_is_another_one_by_now_stays_and_keeps_no_run_busy(world) -> None:
    library, _ = world
    faces = record_of(library, "faceset_001").faces
    Path(faces[0]["photo"]).write_bytes(b"a disk's fault")
    cv2.imwrite(faces[1]["photo"], SLAB)
    assert refine(world).counts["pictures_made_anew"] == 12
    now = {face["face"]: face["file"] for face in record_of(library, "faceset_001").faces}
    assert len(now) == 7 and all(is_slab(library.root / "faceset_001" / now[face["face"]]) for face in faces[:2])
    assert refine(world).facesets == []


def test_a_photo_with_another_date_in_it_is_still_there_and_another_photo_of_its_size_takes_no_picture_away(
        world) -> None:
    library, _ = world
    faces = record_of(library, "faceset_001").faces
    for face in faces:
        with open(face["photo"], "ab") as file:
            file.write(b"as of exiftool")
    cv2.imwrite(faces[0]["photo"], np.zeros((480, 640, 3), np.uint8))
    assert refine(world).counts["pictures_made_anew"] == 13
    now = {face["face"]: face["file"] for face in record_of(library, "faceset_001").faces}
    assert len(now) == 7 and is_slab(library.root / "faceset_001" / now[faces[0]["face"]])
    assert refine(world).facesets == []


def test_a_photo_that_was_turned_since_is_called_so_and_no_fault_of_the_face(tmp_path) -> None:
    faces, library = library_photos(tmp_path / "photos", [1], 20), Library(tmp_path / "library")
    for item in faces.photos[3:6]:
        cv2.imwrite(item.path, np.rot90(cv2.imread(item.path)))
    run = swap.export(library, proposal_of(faces), [faces], OPTIONS)
    assert run.counts["pictures"] == 17 and any("3 photos have changed since" in note for note in run.notes)
    left = {item["reason"] for item in record_of(library, "faceset_001").left_out}
    assert left == {render.OTHER} and not left & set(crop.NEVER)


def test_a_photo_that_was_another_one_and_is_put_back_gets_its_picture_by_refine(tmp_path) -> None:
    faces, library = library_photos(tmp_path / "photos", [1], 9), Library(tmp_path / "library")
    path = Path(faces.photos[3].path)
    before = path.read_bytes()
    cv2.imwrite(str(path), np.zeros((480, 640, 3), np.uint8))       # of the same size, and nobody is in it
    run = swap.export(library, proposal_of(faces), [faces], OPTIONS)
    assert run.counts["pictures"] == 8 and any("1 photo has changed since" in note for note in run.notes)
    path.write_bytes(before)
    run = refine((library, faces))
    assert run.counts["pictures"] == 1 and len(record_of(library, "faceset_001").faces) == 9


def test_a_faceset_of_which_no_picture_can_be_made_anew_stays_as_it_is(world) -> None:
    library, _ = world

    def nobody(pixels: np.ndarray):
        return np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2))
    before = contents(library.root)
    run = refine(world, options=swap.Options(lambda: Looks((nobody,))))
    assert run.counts["without_pictures"] == 2 and any("stays as it is" in note for note in run.notes)
    assert contents(library.root) == before and len(record_of(library, "faceset_001").faces) == 7


def test_nothing_is_lost_while_the_share_is_away(world) -> None:
    library, faces = world
    photos = Path(faces.photos[0].path).parents[1]
    photos.rename(photos.with_name("away"))
    before = contents(library.root)
    assert refine(world).facesets == [] and contents(library.root) == before
    photos.with_name("away").rename(photos)
    assert refine(world).counts["pictures_made_anew"] == 14


def test_a_faceset_without_its_manifest_stops_nobody_elses_run_and_what_is_advised_works(world) -> None:
    library, _ = world
    (library.root / "faceset_001" / "manifest.json").unlink()
    run = refine(world, "faceset_002")
    assert run.counts["pictures_made_anew"] == 7 and run.facesets == ["faceset_002"]
    with pytest.raises(Failure, match=r"move \S+ out of the library, then: sort_faces.py drop faceset_001") as said, \
            changing(library, "name") as run:
        edit.name(run, "faceset_001", "Anna")
    assert "again" not in str(said.value)
    (library.root / "faceset_001").rename(library.root.parent / "faceset_001")
    with changing(library, "drop") as run:
        edit.drop(run, "faceset_001")
    assert [entry.folder for entry in library.manifest().entries] == ["faceset_002"]


def test_killed_in_the_middle_the_next_run_makes_them_anew_and_loses_nothing(tmp_path) -> None:
    faces = library_photos(tmp_path / "photos", [1], 3)

    def aged(name: str) -> Library:
        library = Library(tmp_path / name)
        swap.export(library, proposal_of(faces), [faces], OPTIONS, min_faces=1)
        age(library)
        (library.root / "faceset_001" / "0002.png").unlink()
        return library
    whole = aged("whole")
    undisturbed = steps(lambda: refine((whole, faces)))
    for at in range(1, undisturbed, undisturbed // 6):
        library = aged(f"library{at}")
        assert killed(lambda library=library: refine((library, faces)), at)
        refine((library, faces))
        record = record_of(library, "faceset_001")
        assert [face["rules"] for face in record.faces] == [crop.RULES] * 2
        assert "deleted by hand" in record.left_out[0]["reason"]
