"""The cache: what goes in comes out, nothing in it can execute, two of them become one."""

import io
import pickle
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesets.common.errors import Failure
from facesets.embed.parts import Parts, combined
from facesets.formats import cache
from facesets.formats import queue as queues
from facesets.formats.cache import FACE, Cache, Model, Person, Photo

MODEL = Model("pack", "a" * 64, "b" * 64, 4, 0.45, 0.55)


def made(photos: int, faces_each: int = 2, seed: int = 0, model: Model = MODEL, prefix: int = 0) -> Cache:
    """`photos` photos with `faces_each` random faces each; the SHA-256 of photo i is that of no file."""
    random = np.random.default_rng(seed)
    rows = photos * faces_each
    raw = random.standard_normal((rows, model.dimension)).astype(np.float32)
    norms = np.linalg.norm(raw, axis=1).astype(np.float32)
    faces = np.zeros(rows, FACE)
    faces["photo"] = np.arange(rows) // max(faces_each, 1)
    faces["box"] = np.arange(rows)[:, None] + (0, 0, 50, 60)
    status = "faces" if faces_each else "noface"
    return Cache(model, [Photo(f"/p/{n}.jpg", f"{n + prefix:064x}", status, width=100, height=100)
                         for n in range(photos)], faces, raw / norms[:, None], norms)


def same(a: Cache, b: Cache) -> bool:
    arrays = ((a.faces, b.faces), (a.embeddings, b.embeddings), (a.norms, b.norms))
    return all(np.array_equal(x, y) for x, y in arrays) and (
        (a.model, a.photos, a.persons, a.path_aliases) == (b.model, b.photos, b.persons, b.path_aliases))


texts = st.text(max_size=20)


@settings(deadline=None, max_examples=40)
@given(texts, texts, texts, st.integers(0, 3), st.integers(0, 2))
def test_what_is_written_is_read(tmp_path_factory, path, name, alias, photos, faces):
    path = path.encode("utf-8", "replace").decode()
    before = made(photos, faces)
    before.photos = [replace(photo, path=photo.path + path, reason=name) for photo in before.photos]
    before.persons = [Person("id", name)] * len(before.faces)
    before.path_aliases = {alias: "0" * 64}
    file = tmp_path_factory.mktemp("cache") / "c.npz"
    cache.write(file, before)
    assert same(cache.read(file), before)
    assert cache.processed(file) == frozenset(photo.sha256 for photo in before.photos)
    assert cache.model_of(file) == MODEL


def test_the_same_cache_gives_the_same_bytes(tmp_path):
    cache.write(tmp_path / "a.npz", made(5))
    time.sleep(2.1)     # zip keeps times of two seconds
    cache.write(tmp_path / "b.npz", made(5))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_rows_are_unit_and_raw_is_what_the_recogniser_gave(tmp_path):
    before = made(3)
    np.testing.assert_allclose(np.linalg.norm(before.embeddings, axis=1), 1, atol=1e-6)
    cache.write(tmp_path / "c.npz", before)
    np.testing.assert_allclose(cache.read(tmp_path / "c.npz").raw, before.raw)


def members(file) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(file, changes: dict[str, bytes]) -> None:
    with_changes = {**members(file), **changes}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in with_changes.items():
            archive.writestr(name, data)


class Bomb:
    def __reduce__(self):
        return print, ("executed",)


def npy(array) -> bytes:
    data = io.BytesIO()
    np.lib.format.write_array(data, np.asanyarray(array), allow_pickle=True)
    return data.getvalue()


def nan_quality():
    faces = made(2).faces.copy()
    faces["quality"][0] = np.nan
    return faces


HOSTILE = {
    "no zip": lambda file: file.write_bytes(b"PK\x03\x04 nothing"),
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: file.write_bytes(file.read_bytes()[:900]),
    "pickle": lambda file: file.write_bytes(pickle.dumps(Bomb())),
    "object array": lambda file: rewritten(file, {"meta.npy": npy(np.array([Bomb()], object))}),
    "schema 1": lambda file: rewritten(file, {"schema.npy": npy(np.int64(1))}),
    "no unit rows": lambda file: rewritten(file, {"embeddings.npy": npy(np.ones((4, 4), np.float32))}),
    "not finite": lambda file: rewritten(file, {"norms.npy": npy(np.full(4, np.nan, np.float32))}),
    "quality is NaN": lambda file: rewritten(file, {"meta.npy": npy(nan_quality())}),
    "too few": lambda file: rewritten(file, {"norms.npy": npy(np.ones(3, np.float32))}),
    "double": lambda file: rewritten(file, {"norms.npy": npy(np.ones(4))}),
    "no such photo": lambda file: rewritten(file, {"meta.npy": npy(np.full(4, 9, FACE))}),
    "other meta": lambda file: rewritten(file, {"meta.npy": npy(np.zeros(4, FACE.descr[:3]))}),
    "text is numbers": lambda file: rewritten(file, {"photos.npy": npy(np.zeros(4))}),
    "text is no JSON": lambda file: rewritten(file, {"photos.npy": npy(np.frombuffer(b"{", np.uint8))}),
    "deep JSON": lambda file: rewritten(file, {"model.npy": npy(np.frombuffer(b"[" * 99999, np.uint8))}),
    "aliases are numbers": lambda file: rewritten(file, {"path_aliases.npy": npy(np.frombuffer(b'{"a":1}', np.uint8))}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_of_someone_else_fails_in_words_and_executes_nothing(tmp_path, capsys, kind):
    file = tmp_path / "c.npz"
    cache.write(file, made(2))
    HOSTILE[kind](file)
    with pytest.raises(Failure, match=r"c\.npz"):
        cache.read(file)
    assert "executed" not in capsys.readouterr().out


def test_combining_keeps_every_face_with_its_photo_and_the_last_outcome_of_a_photo():
    first, second = made(4), made(3, seed=1, prefix=2)      # photos 2 and 3 of the first are 0 and 1 of the second
    whole = combined([first, second])
    cache.check(whole)
    assert [photo.sha256 for photo in whole.photos] == [f"{n:064x}" for n in range(5)]
    expected = {key: row for part in (first, second)
                for key, row in zip(keys(part), part.embeddings.tolist(), strict=True)
                if part is second or int(key[0], 16) < 2}
    assert dict(zip(keys(whole), whole.embeddings.tolist(), strict=True)) == expected


def keys(part: Cache) -> list[tuple[str, float]]:
    return [(part.photos[face["photo"]].sha256, float(face["box"][0])) for face in part.faces]


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(6)))
def test_the_order_of_parts_does_not_show_in_the_whole(order):
    whole = made(6)
    singles = [combined([Cache(MODEL), one(whole, n)]) for n in order]
    names = [f"{n:064x}" for n in range(6)]
    assert same(combined([Cache(MODEL), *singles], names), whole)


def one(whole: Cache, photo: int) -> Cache:
    rows = whole.faces["photo"] == photo
    faces = whole.faces[rows].copy()
    faces["photo"] = 0
    return Cache(whole.model, [whole.photos[photo]], faces, whole.embeddings[rows], whole.norms[rows])


def test_models_do_not_mix():
    other = made(1, model=replace(MODEL, sha256="c" * 64))
    with pytest.raises(Failure, match="cannot be compared"):
        combined([made(1), other])


def test_a_fold_that_was_killed_before_the_parts_went_changes_nothing(tmp_path):
    queue = queues.Queue("peter", "", tuple(
        queues.Entry(f"asset-{n}", photo.path, "", photo.sha256, 1) for n, photo in enumerate(made(4).photos)))
    parts = Parts(tmp_path / "c.npz")
    for n in (2, 0, 3, 1):
        parts.add(one(made(4), n))
    copies = {path.name: path.read_bytes() for path in parts.paths}
    parts.fold(queue, MODEL)
    folded = (tmp_path / "c.npz").read_bytes()
    parts.folder.mkdir()
    for name, data in copies.items():
        (parts.folder / name).write_bytes(data)
    Parts(tmp_path / "c.npz").fold(queue, MODEL)
    assert (tmp_path / "c.npz").read_bytes() == folded
    assert not parts.folder.exists()


def test_a_part_costs_the_same_bytes_however_many_there_are(tmp_path):
    parts = Parts(tmp_path / "c.npz")
    sizes = []
    for n in range(30):
        parts.add(made(2, prefix=1000 + n * 2))
        sizes.append(parts.paths[-1].stat().st_size)
    assert len(set(sizes)) == 1
    assert len(Parts(tmp_path / "c.npz").processed()) == 60


def test_a_temporary_file_that_a_kill_left_is_no_part(tmp_path):
    parts = Parts(tmp_path / "c.npz")
    parts.add(made(2))
    (parts.folder / ".000002.npz.tmp").write_bytes(b"half")
    again = Parts(tmp_path / "c.npz")
    assert len(again.processed()) == 2
    again.add(made(2, prefix=7))
    assert [path.name for path in again.paths] == ["000001.npz", "000002.npz"]
