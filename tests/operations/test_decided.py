"""decisions.json: what a person decided in the page is done as one run, and nothing else is."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import report_library as made_up
from hypothesis import given
from hypothesis import strategies as st

import sort_faces
from facesets.common import files
from facesets.common.errors import Failure
from facesets.formats.cache import short_key
from facesets.formats.faceset import FACES, read_faces
from facesets.library import folder as folders
from facesets.library import store
from facesets.operations import decided as decisions

STRANGER = "f" * 64 + "@10,20,30,40"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("decisions")
    made_up.make_library(root / "lib", 6, faces=(6, 9), size=64)
    return root


@pytest.fixture
def library(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "copy")
    return tmp_path / "copy" / "lib"


def decided(library: Path, *items: dict[str, Any], identity: str = "") -> Path:
    files.write_json(library.parent / "decisions.json", {
        "schema": 1, "library": identity or store.Library(library).id, "made": "2026-11-22T19:00:00Z",
        "decisions": list(items)})
    return library.parent / "decisions.json"


def apply(library: Path, path: Path, *flags: str) -> int:
    return sort_faces.main(["apply", str(path), "--library", str(library), "--data-root", str(library.parent), *flags])


def everything(library: Path) -> list[dict[str, Any]]:
    """One of each kind: faceset 1 is named, 2 loses a face and refuses a stranger, 3 is 4's, 5 goes."""
    key = folders.read_record(library / "faceset_002" / folders.MANIFEST).faces[1]["face"]
    return [{"do": "name", "faceset": "faceset_001", "name": "Großmutter <Ilse>"},
            {"do": "not-this", "faceset": "faceset_002", "face": short_key(key), "file": "0002.png"},
            {"do": "not-this", "faceset": "faceset_002", "face": STRANGER, "file": ""},
            {"do": "merge", "faceset": "faceset_003", "into": "faceset_004"},
            {"do": "drop", "faceset": "faceset_005"}]


def fingerprint(library: Path) -> dict[str, str]:
    found = {path.relative_to(library).as_posix(): path for path in sorted(library.rglob("*")) if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items() if name[0] != "."}


def test_every_decision_is_carried_out_in_one_run_that_undo_takes_back(library: Path) -> None:
    before = fingerprint(library)
    key = folders.read_record(library / "faceset_002" / folders.MANIFEST).faces[1]["face"]
    faces = [len(read_faces(library / name / FACES).keys) for name in ("faceset_003", "faceset_004")]
    assert apply(library, decided(library, *everything(library))) == 0
    manifest = store.Library(library).manifest()
    assert [entry.folder for entry in manifest.facesets] == ["faceset_001", "faceset_002", "faceset_004", "faceset_006"]
    assert manifest.facesets[0].name == "Großmutter <Ilse>"
    assert manifest.not_this["faceset_002"] == sorted([key, STRANGER])
    assert key not in read_faces(library / "faceset_002" / FACES).keys
    assert len(read_faces(library / "faceset_004" / FACES).keys) == sum(faces)
    assert (library / "_dropped" / "faceset_005").is_dir() and (library / "_merged" / "faceset_003").is_dir()
    assert [run["verb"] for run in manifest.runs][2:] == ["apply"]
    assert sort_faces.main(["undo", "--library", str(library), "--data-root", str(library.parent)]) == 0
    assert {name: digest for name, digest in fingerprint(library).items() if name != "decisions.json"} == before


def test_the_same_decisions_twice_change_nothing(library: Path) -> None:
    path = decided(library, *everything(library))
    assert apply(library, path) == 0
    after = fingerprint(library)
    assert apply(library, path) == 0
    assert fingerprint(library) == after


def test_a_dry_run_changes_nothing(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = fingerprint(library)
    assert apply(library, decided(library, *everything(library)), "--dry-run", "--json") == 0
    assert fingerprint(library) == before
    assert "faceset_001" in json.loads(capsys.readouterr().out)["facesets"]


def test_a_name_typed_by_hand_since_the_page_was_made_stays_and_is_said(library: Path,
                                                                         capsys: pytest.CaptureFixture[str]) -> None:
    (library / "faceset_006" / "NAME.txt").write_text("Tante Käthe\n", encoding="utf-8")
    items = [{"do": "name", "faceset": folder, "name": "Ilse", "was": was}
             for folder, was in (("faceset_002", ""), ("faceset_006", ""))]
    assert apply(library, decided(library, *items)) == 0
    assert (library / "faceset_002" / "NAME.txt").read_text() == "Ilse\n"
    assert (library / "faceset_006" / "NAME.txt").read_text(encoding="utf-8") == "Tante Käthe\n"
    assert "faceset_006 was called 'Tante Käthe'" in capsys.readouterr().err


def test_chained_merges_end_in_one_faceset(library: Path) -> None:
    assert apply(library, decided(library, {"do": "merge", "faceset": "faceset_001", "into": "faceset_002"},
                                  {"do": "merge", "faceset": "faceset_002", "into": "faceset_003"})) == 0
    entries = store.Library(library).manifest()
    assert [entry.folder for entry in entries.facesets] == [f"faceset_00{number}" for number in (3, 4, 5, 6)]
    assert {entry.into for entry in entries.merged} == {"faceset_003"}


@pytest.mark.parametrize(("items", "words"), [
    ([{"do": "drop", "faceset": "faceset_099"}], "there is no faceset_099"),
    ([{"do": "not-this", "faceset": "faceset_001", "face": "0" * 12}], "has no face 000000000000"),
    ([{"do": "merge", "faceset": "faceset_001", "into": "faceset_001"}], "into itself"),
    ([{"do": "merge", "faceset": "faceset_001", "into": "faceset_002"},
      {"do": "merge", "faceset": "faceset_002", "into": "faceset_001"}], "into itself"),
    ([{"do": "drop", "faceset": "../../etc"}], "there is no ../../etc"),
    ([{"do": "drop", "faceset": "_dropped/faceset_001"}], "there is no _dropped"),
    ([{"do": "drop", "faceset": "a\x1b[2Jb"}], "there is no a"),
    ([{"do": "not-this", "faceset": "faceset_001", "face": "@"}], "has no face"),
    ([{"do": "run", "faceset": "faceset_001"}], "is not a file of decisions"),
    ([{"do": "drop"}], "is not a file of decisions"), (["drop"], "is not a file of decisions")])
def test_what_does_not_fit_stops_everything_with_one_line(library: Path, capsys: pytest.CaptureFixture[str],
                                                          items: list[Any], words: str) -> None:
    before = fingerprint(library)
    path = decided(library, {"do": "name", "faceset": "faceset_006", "name": "Somebody"}, *items)
    assert apply(library, path) == 1
    said = capsys.readouterr().err.strip()
    assert words in said and "\n" not in said and "\x1b" not in said
    assert fingerprint(library) == before


def test_decisions_of_another_library_are_refused(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert apply(library, decided(library, identity="0123456789ab")) == 1
    assert "another library" in capsys.readouterr().err


def test_a_file_that_is_not_there_or_damaged_is_not_asked_for_from_a_page_that_saves_none(
        library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (library / "damaged.json").write_text("[")
    for name, words in (("none.json", "does not exist"), ("damaged.json", "is not valid JSON")):
        assert apply(library, library / name) == 1
        said = capsys.readouterr().err
        assert words in said and "again" not in said


KEYS = ["do", "faceset", "name", "into", "face", "file", "schema", "library", "decisions", "x"]
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner),
                    max_leaves=20)


@given(st.one_of(st.binary(max_size=200), JSON.map(lambda value: json.dumps(value).encode()),
                 JSON.map(lambda value: json.dumps({"schema": 1, "library": "", "decisions": [value]}).encode())))
def test_any_file_is_decisions_or_a_failure(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    try:
        _, found = decisions.read(path)
    except Failure:
        return
    assert all(isinstance(text, str) for item in found for text in item.values())


def test_short_keys_of_a_faceset_differ() -> None:
    keys = [f"{number:064x}@1,2,3,{side}" for number in range(2000) for side in (4, 5)]
    assert len({short_key(key) for key in keys}) == 4000
    assert len(short_key("x")) == 12 and int(short_key("x"), 16)
