"""What a person does in the folders by hand holds, whatever verb comes next."""

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from drawn import OPTIONS, change, command, contents, library_photos, proposal_of

from facesets.export import swap
from facesets.formats import cache
from facesets.formats.faceset import read_faces
from facesets.formats.proposal import Face, Group
from facesets.library.run import Run
from facesets.library.store import Library
from facesets.operations import edit, eras


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of two people, eight photos each, of the years 2010 to 2017."""
    place = tmp_path_factory.mktemp("template")
    faces = library_photos(place / "photos", [1, 2], 8)
    cache.write(place / "here" / "work" / "cache" / "immich_anna.npz", faces)
    swap.export(Library(place / "here" / "library"), proposal_of(faces), [faces], OPTIONS)
    return place / "here"


@pytest.fixture
def library(template: Path, tmp_path: Path) -> Library:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Library(tmp_path / "library")


def split(library: Library, *words: str) -> list[str]:
    """Split the first faceset by years; the folders of its eras."""
    assert command(library, "split-eras", "1", "--era-years", "1", "--min-faces", "3", *words) == 0
    manifest = library.manifest()
    return [entry.folder for entry in (*manifest.eras, *manifest.thin_eras)]


def pictured(library: Library, folder: str) -> set[str]:
    return {item["face"] for item in library.record(folder).faces}


def delete(library: Library, folder: str, file: str) -> str:
    """The face whose picture is deleted."""
    (library.root / folder / file).unlink()
    return next(item["face"] for item in library.record(folder).faces if item["file"] == file)


@pytest.mark.parametrize("between", [(), ("refine",)], ids=["at once", "taken up before"])
def test_a_picture_that_was_deleted_does_not_come_back_with_a_merge(library: Library, between: tuple[str, ...]) -> None:
    face = delete(library, "faceset_002", "0003.png")
    if between:
        assert command(library, *between) == 0
    assert command(library, "consolidate", "1", "2") == 0
    assert len(pictured(library, "faceset_001")) == 15 and face not in pictured(library, "faceset_001")
    for verb in ("refine", "enrich", "dedup"):
        assert command(library, verb) == 0
        assert face not in pictured(library, "faceset_001"), verb
    assert face in library.canonical()[0].face_keys     # it is hers all the same


def test_a_merge_goes_on_where_an_era_was_removed_by_hand(library: Library) -> None:
    shutil.rmtree(library.root / split(library)[0])
    assert command(library, "consolidate", "2", "1") == 0
    assert [item.number for item in library.canonical()] == [2] and not library.manifest().eras


def test_a_deleted_picture_is_in_no_era_and_stops_none(library: Library) -> None:
    face = delete(library, "faceset_001", "0002.png")
    found = split(library)
    assert len(found) >= 2 and all(face not in pictured(library, folder) for folder in found)
    gone = delete(library, found[0], "0001.png")
    assert gone in pictured(library, "faceset_001")
    assert command(library, "split-eras", "1", "--era-years", "2", "--min-faces", "2") == 0
    manifest = library.manifest()
    for folder in [entry.folder for entry in (*manifest.eras, *manifest.thin_eras)]:
        assert gone not in pictured(library, folder)


@pytest.mark.parametrize("again", [(), ("--era-years", "20"), ("--era-years", "2")], ids=["same", "one era", "others"])
def test_what_a_person_puts_into_an_era_outlives_the_next_split(library: Library, again: tuple[str, ...]) -> None:
    found = split(library)
    for folder in found:
        (library.root / folder / "notes.txt").write_text(f"notes on {folder}")
        (library.root / folder / "0001.png").write_bytes(f"painted {folder}".encode())
    split(library, *again)
    left = contents(library.root).values()
    for folder in found:
        assert f"notes on {folder}".encode() in left and f"painted {folder}".encode() in left
    now = {entry.folder for entry in (*library.manifest().eras, *library.manifest().thin_eras)}
    for folder in set(found) - now:     # nothing but that
        assert sorted(path.name for path in (library.root / folder).iterdir()) == ["0001.png", "notes.txt"]


@pytest.mark.parametrize("words", [("not-this", "1", "0003.png"), ("not-this", "1", "0002.png"), ("refine",)])
def test_a_picture_that_was_changed_by_hand_is_kept_as_is_said(library: Library, capsys, words) -> None:
    place = library.root / "faceset_001"
    (place / "0003.png").write_bytes(b"painted over")
    if words == ("refine",):
        (place / "0001.png").unlink()
    assert command(library, *words) == 0
    assert "0003.png was changed by hand, so it is kept as it is" in capsys.readouterr().err
    for verb in ("refine", "enrich", "dedup"):
        assert command(library, verb) == 0
        assert b"painted over" in {path.read_bytes() for path in place.glob("*.png")}, verb
    assert command(library, "not-this", "1", library.record("faceset_001").faces[0]["file"]) == 0
    assert b"painted over" in {path.read_bytes() for path in place.glob("*.png")}
    listed = [item["file"] for item in library.record("faceset_001").faces]
    assert len(set(listed)) == len(listed) and all((place / file).is_file() for file in listed)


@pytest.fixture
def two_looks(tmp_path: Path) -> Library:
    """One person who looks like two, in photos of the same years: eight of one look and five of the other."""
    faces = library_photos(tmp_path / "photos", [1, 4], 8)
    keys = cache.face_keys(faces)[:13]
    made = replace(proposal_of(faces), facesets=(Group(tuple(map(Face, keys))),))
    years = [2012] * 6 + [2013] * 2 + [2012] + [2013] * 7       # the second look is met in 2013 most, the first in 2012
    faces = replace(faces, photos=[replace(photo, taken_at=f"{year}-01-01T00:00:00")
                                   for photo, year in zip(faces.photos, years, strict=True)])
    library = Library(tmp_path / "library")
    swap.export(library, made, [faces], replace(OPTIONS, outlier_distance=2.0))
    return library


@pytest.mark.parametrize("min_faces", [3, 6], ids=["both full", "one thin"])
def test_two_eras_of_the_same_years_have_a_folder_each(two_looks: Library, min_faces: int) -> None:
    def act(run: Run) -> None:
        eras.split_eras(run, "1", replace(OPTIONS, outlier_distance=2.0), min_faces=min_faces)
    before = {path.read_bytes() for path in (two_looks.root / "faceset_001").glob("*.png")}
    for _ in range(2):      # a second split finds the same
        change(two_looks, act)
        manifest = two_looks.manifest()
        found = [entry.folder for entry in (*manifest.eras, *manifest.thin_eras)]
        assert found == ["faceset_001_2012_2013", ("_thin/" if min_faces == 6 else "") + "faceset_001_2012_2013_2"]
        held = [{path.read_bytes() for path in (two_looks.root / folder).glob("*.png")} for folder in found]
        assert sorted(map(len, held)) == [5, 8] and held[0] | held[1] == before and not held[0] & held[1]
    assert command(two_looks, "drop", "1") == 0
    assert sorted(path.name for path in (two_looks.root / "_dropped").iterdir()) == [
        "faceset_001", "faceset_001_2012_2013", "faceset_001_2012_2013_2"]


def test_an_era_that_is_set_aside_replaces_no_earlier_one(two_looks: Library) -> None:
    options = replace(OPTIONS, outlier_distance=2.0)
    for _ in range(2):
        change(two_looks, lambda run: eras.split_eras(run, "1", options, min_faces=3))
        change(two_looks, lambda run: [edit.set_aside(run, entry.folder, "dropped", "test")
                                       for entry in list(run.manifest.eras)])
    listed = {entry.folder for entry in two_looks.manifest().dropped}
    assert len(listed) == 4 and all((two_looks.root / folder / "faces.npz").exists() for folder in listed)


def by_hand(library: Library, chance: random.Random, number: int) -> set[bytes]:
    """One thing that a person does in the file manager; the bytes that must not be lost."""
    places = sorted(path.parent for path in library.root.glob("[!.]*/**/faces.npz"))
    place = chance.choice(places) if places else library.root
    ours = [path for path in sorted(place.glob("*.png")) if not path.read_bytes().startswith(b"by hand")]
    what = chance.choice(["note", "paint", "save anew", "delete", "name"])
    mine = f"by hand {number}".encode()
    if what == "name":
        (place / "NAME.txt").write_text(f"Name {number}\n")
    elif what == "note" or not ours:
        (place / chance.choice([f"{number}.txt", f"{number:04d}.png"])).write_bytes(mine)
        return {mine}
    else:
        picture = chance.choice(ours)
        if what != "paint":     # an editor may also write in place, which changes every link to the file
            picture.unlink()
        if what != "delete":
            picture.write_bytes(mine)
            return {mine}
    return set()


@pytest.mark.parametrize("seed", range(int(os.environ.get("TRUST_ROUNDS", "3"))))
def test_whatever_is_done_in_whatever_order_no_work_of_a_person_is_lost(library: Library, seed: int, capsys) -> None:
    chance, work, told = random.Random(seed), set[bytes](), []
    for number in range(100, 125):      # no picture of ours has such a number
        if chance.random() < 0.5:
            work |= by_hand(library, chance, number)
        there = [str(item.number) for item in library.canonical()] or ["1"]
        one, other = chance.choice(there), chance.choice(there)
        words = chance.choice([
            ("name", one, f"Person {number}"), ("not-this", one, "0001.png"), ("drop", one),
            ("consolidate", one, other), ("split-eras", one, "--era-years", chance.choice("12"), "--min-faces", "3"),
            ("refine",), ("dedup",), ("enrich",), ("extend",), ("undo",), ("undo",)])
        told.append((*words, command(library, *words)))
        assert told[-1][-1] in (0, 1, 64) and "a bug" not in capsys.readouterr().err, told
        lost = work - set(contents(library.root).values())
        assert not lost, (lost, told)
        for item in library.canonical():
            files = [entry["file"] for entry in library.record(item.folder).faces]
            assert len(set(files)) == len(files) == (read_faces(item.path / "faces.npz").rank > 0).sum(), told
        assert not (library.root / ".pending").exists()


def test_a_folder_that_was_renamed_is_said_to_be_and_what_to_do(
        library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    (library.root / "faceset_001").rename(library.root / "Aunt Ilse")
    assert command(library, "name", "1", "Ilse") == 1
    said = capsys.readouterr().err
    assert "if it was renamed, give it that name again; if it was removed: sort_faces.py drop faceset_001" in said
    assert command(library, "drop", "faceset_001") == 0
