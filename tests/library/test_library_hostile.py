"""Manifests and journals that somebody else wrote can be refused, and lead nowhere outside the library."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn import OPTIONS, library_photos, proposal_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facesets.common.errors import Failure
from facesets.export import swap
from facesets.formats.faceset import read_faces, read_keys, read_member
from facesets.library import folder as folders
from facesets.library import journal
from facesets.library.store import Library, read_manifest

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
                    max_leaves=8)
OUTSIDE = ["../faceset_002", "/etc", "..", "faceset_001/../../x", "", ".", "a\x00b", "_dropped/../../x", "a\n"]


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Library:
    place = tmp_path_factory.mktemp("good")
    faces = library_photos(place / "photos", [1], 7)
    swap.export(Library(place / "library"), proposal_of(faces), [faces], OPTIONS)
    return Library(place / "library")


def refused(read: Callable[[Path], object], path: Path, value: object) -> None:
    """Reading it works or fails in words; nothing else."""
    path.write_text(json.dumps(value))
    try:
        read(path)
    except Failure as failure:
        assert str(path) in str(failure)


@pytest.mark.parametrize("text", OUTSIDE)
def test_a_folder_outside_the_library_is_refused(good, tmp_path, text) -> None:
    value = json.loads((good.root / "manifest.json").read_text())
    value["facesets"][0]["folder"] = text
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(Failure, match="not the manifest of a library"):
        read_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize("text", OUTSIDE)
@pytest.mark.parametrize("where", ["file", "files", "top", "folder"])
def test_a_file_outside_its_faceset_is_refused(good, tmp_path, text, where) -> None:
    value = json.loads((good.root / "faceset_001" / "manifest.json").read_text())
    if where == "file":
        value["faces"][0]["file"] = text
    elif where == "files":
        value["files"][text] = "0" * 64
    elif where == "top":
        value["top"][0] = text
    else:
        value["folder"] = text
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(Failure, match="not the manifest of a faceset"):
        folders.read_record(tmp_path / "manifest.json")


def test_a_journal_that_leads_outside_is_refused_before_anything_moves(tmp_path) -> None:
    folder = tmp_path / "library" / ".pending" / "000001-evil"
    folder.mkdir(parents=True)
    (tmp_path / "precious").write_text("mine")
    plan = {"schema": journal.SCHEMA, "verb": "evil", "command": "", "takes": ["../precious"], "puts": {}, "files": {},
            "final": False}
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "phase").write_text("doing")
    with pytest.raises(Failure, match="leads out of the library"):
        journal.recover(tmp_path / "library")
    assert (tmp_path / "precious").read_text() == "mine"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_manifests_with_anything_in_them_are_read_or_refused_in_words(good, tmp_path, data) -> None:
    for name, read in (("manifest.json", read_manifest), ("faceset_001/manifest.json", folders.read_record)):
        value = json.loads((good.root / name).read_text())
        place = value
        for _ in range(data.draw(st.integers(0, 3))):
            items = place.items() if isinstance(place, dict) else enumerate(place)
            inner = [key for key, item in items if isinstance(item, dict | list)]
            if not inner:
                break
            place = place[data.draw(st.sampled_from(inner))]
        if isinstance(place, dict) and place:
            place[data.draw(st.sampled_from(list(place)))] = data.draw(JSON)
        elif isinstance(place, list):
            place.append(data.draw(JSON))
        refused(read, tmp_path / "manifest.json", value)


def test_a_faces_npz_that_is_none_is_refused(good, tmp_path) -> None:
    for name, data in (("empty", b""), ("text", b"PK\x03\x04 nonsense"), ("pickle", b"\x80\x04]\x94.")):
        (tmp_path / name).write_bytes(data)
        for read in (read_faces, read_keys):
            with pytest.raises(Failure):
                read(tmp_path / name)
    np.savez(tmp_path / "keys.npz", meta=np.zeros(3), processed=np.zeros(2))
    with pytest.raises(Failure):
        read_keys(tmp_path / "keys.npz")
    np.savez(tmp_path / "other.npz", rank=np.zeros(3))
    with pytest.raises(Failure):
        read_faces(tmp_path / "other.npz")
    np.savez(tmp_path / "objects.npz", rank=np.array([{}], object))
    with pytest.raises(Failure):
        read_member(tmp_path / "objects.npz", "rank")
    np.savez_compressed(tmp_path / "bomb.npz", rank=np.zeros(10_000_000, np.int8), meta=np.zeros(9),
                        processed=np.zeros(9))
    assert (tmp_path / "bomb.npz").stat().st_size < 20_000
    for unpack in (lambda path: read_member(path, "rank"), read_keys, read_faces):
        with pytest.raises(Failure, match="packed"):
            unpack(tmp_path / "bomb.npz")
