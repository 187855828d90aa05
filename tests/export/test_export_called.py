"""The files that people carry to the tools are called as their person, whatever she comes to be called."""

from pathlib import Path

import pytest
from drawn import OPTIONS, contents, library_photos, proposal_of

from facesets.common import files
from facesets.export import outside, swap
from facesets.library.folder import Record, read_record
from facesets.library.run import changing
from facesets.library.store import Library
from facesets.operations import consolidate, edit, eras


@pytest.fixture
def library(tmp_path):
    """Three people with seven photos each."""
    faces, library = library_photos(tmp_path / "photos", [1, 2, 3], 7), Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    return library


def carried(folder: Path) -> list[str]:
    """The tools' files of a faceset, which its manifest knows with their digests."""
    found = sorted(path.name for path in folder.iterdir() if path.suffix in (".fsz", ".safetensors"))
    written = read_record(folder / "manifest.json").files
    assert {name: files.sha256_of(folder / name) for name in found} == {name: written[name] for name in found}
    assert sorted(name for name in written if name.endswith((".fsz", ".safetensors"))) == found
    return found


def three(start: str) -> list[str]:
    return sorted(f"{start}{ending}" for ending in ("_all.fsz", "_top8.fsz", ".safetensors"))


def name(library: Library, folder: str, new: str) -> list[str]:
    with changing(library, "name") as run:
        edit.name(run, folder, new)
    return carried(library.root / folder)


def test_files_follow_the_name_and_no_file_of_an_earlier_name_stays(library) -> None:
    folder = library.root / "faceset_002"
    assert carried(folder) == three("faceset_002")
    before = {path.name.partition("_")[2]: path.read_bytes() for path in folder.glob("*.fsz")}
    assert name(library, "faceset_002", "Zoë Müller 王") == three("Zoë Müller 王")
    assert name(library, "faceset_002", "Zoë") == three("Zoë")
    assert (folder / "Zoë_all.fsz").read_bytes() == before["002_all.fsz"]
    assert name(library, "faceset_002", "a/b") == three("faceset_002")
    library.undo()
    assert carried(folder) == three("Zoë")


def test_of_two_people_with_one_name_no_two_files_are_called_the_same(library) -> None:
    assert name(library, "faceset_001", "Anna") == three("Anna")
    assert name(library, "faceset_002", "ANNA") == three("faceset_002")
    assert name(library, "faceset_003", "faceset_001") == three("faceset_003")
    assert name(library, "faceset_001", "Zoe\u0308") == three("Zo\u00eb")       # as a Mac writes it
    assert name(library, "faceset_003", "Zoe\u0308") == three("faceset_003")
    name(library, "faceset_001", "Bert")
    with changing(library, "consolidate") as run:
        consolidate.merge(run, "faceset_002", ["faceset_001"], OPTIONS)
    assert carried(library.root / "faceset_002") == three("ANNA")


def test_a_faceset_that_is_made_anew_is_called_by_the_name_that_a_person_wrote_into_it(library) -> None:
    folder = library.root / "faceset_001"
    (folder / "NAME.txt").write_text("Anna\n")
    (folder / "Anna.safetensors").write_bytes(b"a person's own")
    photo = read_record(folder / "manifest.json").faces[0]["photo"]
    with changing(library, "not-this") as run:
        edit.not_this(run, "faceset_001", [photo], OPTIONS)
    assert (folder / "Anna.safetensors").read_bytes() == b"a person's own"
    assert {path.name for path in folder.glob("*[sz]") if path.is_file()} >= {
        "Anna_all.fsz", "Anna_top8.fsz", "Anna.safetensors", "faceset_001.safetensors"}


def test_times_of_life_are_called_by_name_and_years(library) -> None:
    with changing(library, "split-eras") as run:
        eras.split_eras(run, "faceset_001", OPTIONS, distance=0.9, apart=2, min_faces=1)
    era = next(iter(entry.folder for entry in library.manifest().eras))
    name(library, "faceset_001", "Anna")
    assert carried(library.root / era) == three(f"Anna{era.removeprefix('faceset_001')}")
    before = contents(library.root)
    with changing(library, "name") as run:
        edit.name(run, "faceset_001", "Anna")
    after = contents(library.root)
    assert {path for path in before if path.startswith(era)} == {path for path in after if path.startswith(era)}


@pytest.mark.parametrize(("name", "start"), [
    ("Anna", "Anna"), ("Zoe\u0308", "Zoë"), ("प्रिया", "प्रिया"), ("Anna 😀", "Anna 😀"), ("😀", "faceset_001"),
    ("a/b", "faceset_001"), ("con", "faceset_001"), ("..", "faceset_001"), (".x", "faceset_001"), ("", "faceset_001"),
    ("x" * 200, "faceset_001"), ("Faceset_002", "faceset_001")])
def test_only_a_clean_name_names_files(name, start) -> None:
    assert outside.stem(Record("faceset_001", 1, name), [Record("faceset_002", 2)]) == start
    assert outside.stem(Record("_thin/thin_0123", 0, name), []) == "thin_0123"
