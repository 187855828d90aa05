"""Each file is read back as the tool reads it that it is for."""

import json
import os
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn import MODEL, OPTIONS, detect, library_photos, proposal_of
from insightface.app.common import Face
from safetensors import safe_open

from facesets.export import embeddings, swap
from facesets.export.run import changing
from facesets.formats import cache
from facesets.library.store import Library
from facesets.operations import upkeep


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A library of three people with nine photos each, and the cache that it is from."""
    folder = tmp_path_factory.mktemp("formats")
    faces = library_photos(folder / "photos", [1, 2, 3], 9, together=2)
    library = Library(folder / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    return library.root, faces


def as_roop_unzips(path: Path, folder: Path) -> list[str]:
    """roop-unleashed's ui/tabs/faceswap_tab.py: clear the folder with os.remove, extract, take every *.png."""
    if folder.is_dir():
        for name in os.listdir(folder):
            os.remove(folder / name)        # raises for a subfolder: that load would break
    else:
        os.makedirs(folder)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return [name for name in os.listdir(folder) if name.endswith(".png")]


@pytest.mark.parametrize("which", ["top8", "all"])
def test_roop_unleashed_loads_a_faceset_twice_and_finds_one_face_in_each_picture(shelf, tmp_path, which) -> None:
    root, _ = shelf
    for folder in ("faceset_001", "faceset_002"):
        names = as_roop_unzips(root / folder / f"{folder}_{which}.fsz", tmp_path / "faceset")
        assert len(names) == (8 if which == "top8" else 9)
        for name in names:
            assert len(detect(cv2.imread(str(tmp_path / "faceset" / name)))[0]) == 1


def test_an_fsz_is_flat_stored_lowercase_and_zero_padded_with_its_manifest(shelf) -> None:
    root, _ = shelf
    with zipfile.ZipFile(root / "faceset_001" / "faceset_001_all.fsz") as archive:
        assert all(item.compress_type == zipfile.ZIP_STORED for item in archive.infolist())
        assert archive.namelist() == [f"{number:04d}.png" for number in range(1, 10)] + ["manifest.json"]
        assert json.loads(archive.read("manifest.json"))["faceset"] == "faceset_001"


def test_the_top_pictures_lie_as_plain_files_too_and_what_a_person_adds_there_stays(tmp_path) -> None:
    faces = library_photos(tmp_path / "photos", [1], 12)
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    folder = library.root / "faceset_001"
    top = json.loads((folder / "manifest.json").read_text())["top"]
    assert sorted(path.name for path in (folder / "top8").iterdir()) == top and len(top) == 8
    assert all((folder / "top8" / name).samefile(folder / name) for name in top)
    (folder / "top8" / "mine.txt").write_text("mine")
    (folder / top[0]).unlink()
    with changing(library, "dedup") as run:
        upkeep.refine(run, ["faceset_001"], replace(OPTIONS, top=3))
    top = json.loads((folder / "manifest.json").read_text())["top"]
    assert len(top) == 3 and sorted(path.name for path in (folder / "top8").iterdir()) == [*top, "mine.txt"]


def test_reactor_loads_the_face_model(shelf) -> None:
    root, faces = shelf
    face = {}
    with safe_open(root / "faceset_001" / "faceset_001.safetensors", framework="np") as file:
        for key in file.keys():     # noqa: SIM118 - not a dictionary
            face[key] = file.get_tensor(key)
        unknown = file.metadata()["unknown"]
    shapes = {"bbox": (4,), "kps": (5, 2), "det_score": (), "landmark_3d_68": (68, 3), "pose": (3,),
              "landmark_2d_106": (106, 2), "embedding": (512,)}
    assert {key: value.shape for key, value in face.items()} == shapes
    assert {value.dtype for value in face.values()} == {np.dtype(np.float32)}
    assert Face(face).sex is None       # -1 would be female to its gender filter
    assert set(unknown.split()) == {"landmark_3d_68", "landmark_2d_106"}
    assert 10 < np.linalg.norm(face["embedding"]) < 20      # a mean of raw embeddings of norm 20, not a unit vector
    mine = [row for row, key in enumerate(faces.faces["photo"]) if "p001" in faces.photos[key].path]
    assert np.allclose(face["embedding"], faces.raw[mine].mean(axis=0), atol=1e-4)


def test_visomaster_loads_one_list_of_all(shelf) -> None:
    root, faces = shelf
    listed = json.loads((root / "visomaster_embeddings.json").read_bytes())
    assert [entry["name"] for entry in listed] == ["p001 (faceset_001)", "p002 (faceset_002)", "p003 (faceset_003)"]
    for entry in listed:
        assert set(entry) == {"name", "embedding_store"} and list(entry["embedding_store"]) == ["Inswapper128ArcFace"]
        assert np.array(entry["embedding_store"]["Inswapper128ArcFace"]).shape == (512,)
    mine = [row for row, key in enumerate(faces.faces["photo"]) if "p002" in faces.photos[key].path]
    assert np.allclose(listed[1]["embedding_store"]["Inswapper128ArcFace"], faces.raw[mine].mean(axis=0), atol=1e-4)


def test_visomaster_reads_an_accented_name_in_whatever_encoding_its_system_has(tmp_path) -> None:
    embeddings.visomaster(tmp_path / "list.json", [("Zoë Müller 王", np.ones(512))])
    for encoding in ("cp1252", "ascii", "utf-8"):
        with open(tmp_path / "list.json", encoding=encoding) as file:
            assert json.load(file)[0]["name"] == "Zoë Müller 王"


def test_another_recogniser_gets_pictures_but_no_embedding_files_and_is_told(tmp_path) -> None:
    faces = replace(library_photos(tmp_path / "photos", [1], 7), model=replace(MODEL, sha256="e" * 64, name="other"))
    library = Library(tmp_path / "library")
    summary = swap.export(library, proposal_of(faces), [faces], OPTIONS)
    names = {path.name for path in library.root.rglob("*")}
    assert "0007.png" in names and "faceset_001_top8.fsz" in names
    assert "faceset_001.safetensors" not in names and "visomaster_embeddings.json" not in names
    assert any("other" in note and "w600k_r50" in note for note in summary.notes)


def test_faces_npz_is_a_cache_that_any_reader_of_caches_reads(shelf) -> None:
    root, faces = shelf
    own = cache.read(root / "faceset_002" / "faces.npz")
    assert own.model == faces.model and len(own.faces) == 9
    assert set(cache.face_keys(own)) <= set(cache.face_keys(faces))
    assert {photo.user for photo in own.photos} == {"anna"}


def test_pictures_are_512_square_and_private(shelf) -> None:
    root, _ = shelf
    for path in root.rglob("*.png"):
        assert cv2.imread(str(path)).shape == (512, 512, 3)
    for path in root.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
