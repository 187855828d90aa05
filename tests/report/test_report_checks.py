"""What the report tells a person to check, and how it packs what the page needs."""

import base64
from collections import Counter

import numpy as np
import pytest

from facesets.formats import vectors
from facesets.library import store
from facesets.report import alike, sections, shelf


def unit(*values: float) -> np.ndarray:
    row = np.zeros(64, np.float32)
    row[:len(values)] = values
    return row / np.linalg.norm(row)


def faceset(folder: str, name: str, centroid: np.ndarray) -> shelf.Set:
    return shelf.Set(folder, int(folder[-3:]), name, "", {}, "r", 0.2, {2020: 5}, {"peter": 5}, [], Counter(),
                     centroid)


def test_the_nearest_other_facesets_are_those_of_the_full_matrix() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(700, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    which = np.arange(0, 700, 2)
    index, distance = vectors.nearest(rows, which, 500, 4)
    apart = 1 - rows @ rows.T
    np.fill_diagonal(apart, np.inf)
    assert (index == np.argsort(apart[which, :500], axis=1)[:, :4]).all()
    assert np.allclose(distance, np.sort(apart[which, :500], axis=1)[:, :4], atol=1e-6)


def test_few_facesets_have_few_neighbours() -> None:
    assert vectors.nearest(np.zeros((0, 64), np.float32), np.arange(0), 0, 6)[0].shape == (0, 0)
    assert vectors.nearest(unit(1)[None], np.arange(1), 1, 6)[1].tolist() == [[np.inf]]
    index, distance = vectors.nearest(np.array([unit(1), unit(0, 1)]), np.arange(2), 2, 6)
    assert (index[:, 0].tolist(), distance[:, 1].tolist()) == ([1, 0], [np.inf, np.inf])


def test_a_pair_is_listed_once_nearest_first_but_for_two_people() -> None:
    sets = [faceset("faceset_001", "Anna", unit(1)), faceset("faceset_002", "anna", unit(0.7, 0.714)),
            faceset("faceset_003", "", unit(0.5, 0, 0.866))]
    found = alike.pairs(sets, 0.45, 0.55, store.Manifest())
    assert [(pair.one, pair.other, pair.near, pair.same_name) for pair in found] == [(0, 1, True, True),
                                                                                    (0, 2, False, False)]
    said = store.Manifest(two_people=[["faceset_001", "faceset_002"]])
    assert [(pair.one, pair.other) for pair in alike.pairs(sets, 0.45, 0.55, said)] == [(0, 2)]


@pytest.mark.parametrize(("reason", "words"), [
    ("0.52 from the centroid, more than 0.45", "too far from the middle of the faceset"),
    ("near-duplicate of 0001.png (similarity 0.97)", "nearly the same as a better one"),
    ("the same moment as the better f7ea033b16e9629021fbe22c20c039cd74ea99763a93c44a97fd2a2ed2d8a1b2.jpg",
     "of the same moment as a better one"),
    ("5 faces, 6 are needed", "too few faces"),
    ("seen 12 times in 0007.png", "seen … times in …")])
def test_reasons_that_differ_in_numbers_are_one(reason: str, words: str) -> None:
    assert shelf.without_numbers(reason) == words


def test_a_face_takes_six_bytes_that_the_page_can_read() -> None:
    face = shelf.Face("0300.png", 1.0, 0.5, 2021, "peter")
    raw = base64.b64decode(sections.packed([face, face], {"anna": 0, "peter": 1}))
    assert len(raw) == 12
    assert raw[:6] == bytes([1, 44, 255, 64, 121, 1])
