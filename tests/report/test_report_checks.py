"""What the report tells a person to check, and how it packs what the page needs."""

import base64
from collections import Counter

import numpy as np
import pytest
from report_library import around

from facesets.report import charts, checks, sections, shelf


def unit(*values: float) -> np.ndarray:
    row = np.zeros(64, np.float32)
    row[:len(values)] = values
    return row / np.linalg.norm(row)


def faceset(folder: str, name: str = "", proposed: str = "", names: dict[str, int] | None = None,
            apart: float = 0.0) -> shelf.Set:
    return shelf.Set(folder, int(folder[-3:]), name, proposed, names or {}, "r", 0.2, {2020: 5}, {"peter": 5}, [],
                     Counter(), {}, unit(1), shelf.Halves(apart))


def test_two_people_in_one_faceset_come_apart_and_one_person_does_not() -> None:
    rng = np.random.default_rng(1)
    one, other = unit(1), unit(0, 1)
    mixed = np.concatenate([around(one, 20, 0.2, rng), around(other, 5, 0.2, rng)])
    cut = shelf.halves(mixed)
    assert cut.distance > 0.7
    assert sorted(cut.smaller) == [20, 21, 22, 23, 24]
    assert shelf.halves(around(one, 25, 0.2, rng)).distance < 0.3
    assert shelf.halves(mixed[:5]) == shelf.Halves()


def test_a_faceset_with_one_stranger_is_not_called_two_people() -> None:
    rng = np.random.default_rng(2)
    rows = np.concatenate([around(unit(1), 12, 0.1, rng), unit(0, 1)[None]])
    assert shelf.halves(rows).distance < 0.45


def test_equal_rows_have_no_halves() -> None:
    assert shelf.halves(np.repeat(unit(1)[None], 10, axis=0)) == shelf.Halves()


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_the_nearest_other_facesets_are_those_of_the_full_matrix(block: int) -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(11, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index, distance = shelf.nearest(rows, 4, block)
    apart = 1 - rows @ rows.T
    np.fill_diagonal(apart, np.inf)
    assert (index == np.argsort(apart, axis=1)[:, :4]).all()
    assert np.allclose(distance, np.sort(apart, axis=1)[:, :4], atol=1e-6)


def test_few_facesets_have_few_neighbours() -> None:
    assert shelf.nearest(np.zeros((0, 64), np.float32), 6)[0].shape == (0, 0)
    assert shelf.nearest(unit(1)[None], 6)[0].shape == (1, 0)
    assert shelf.nearest(np.array([unit(1), unit(0, 1)]), 6)[0].tolist() == [[1], [0]]


def test_a_pair_is_listed_once_nearest_first() -> None:
    sets = [faceset("faceset_001", "Anna"), faceset("faceset_002", "anna"), faceset("faceset_003")]
    near, distance = np.array([[1, 2], [0, 2], [0, 1]]), np.array([[0.3, 0.5], [0.3, 0.9], [0.5, 0.9]])
    found = checks.pairs(sets, near, distance, 0.45, 0.55)
    assert [(pair.one, pair.other, pair.near, pair.same_name) for pair in found] == [(0, 1, True, True),
                                                                                    (0, 2, False, False)]


def test_a_second_name_counts_only_when_it_is_no_slip() -> None:
    assert checks.several_names({"Anna": 40, "Berta": 1}) == (("Anna", 40),)
    assert checks.several_names({"Anna": 40, "Berta": 9}) == (("Anna", 40), ("Berta", 9))


def test_mixed_facesets_are_those_that_come_apart_or_have_two_names() -> None:
    sets = [faceset("faceset_001", apart=0.3), faceset("faceset_002", apart=0.8),
            faceset("faceset_003", names={"Anna": 5, "Berta": 5})]
    assert [(item.index, item.distance) for item in checks.mixed(sets, 0.45)] == [(1, 0.8), (2, 0.0)]


def test_one_name_for_two_and_a_name_that_immich_contradicts_are_conflicts() -> None:
    sets = [faceset("faceset_001", "Anna"), faceset("faceset_002", proposed="anna"),
            faceset("faceset_003", "Paul", "Peter"), faceset("faceset_004", "Tom", "Tom")]
    found = checks.conflicts(sets)
    assert [(item.members, item.better) for item in found] == [((0, 1), ""), ((2,), "Peter")]


@pytest.mark.parametrize(("reason", "words"), [
    ("0.52 from the centroid, more than 0.45", "too far from the middle of the faceset"),
    ("near-duplicate of 0001.png (similarity 0.97)", "nearly the same as a better one"),
    ("5 faces, 6 are needed", "too few faces"),
    ("seen 12 times in 0007.png", "seen … times in …")])
def test_reasons_that_differ_in_numbers_are_one(reason: str, words: str) -> None:
    assert shelf.without_numbers(reason) == words


def test_a_face_takes_six_bytes_that_the_page_can_read() -> None:
    face = shelf.Face("0123456789ab", "0300.png", 300, 1.0, 0.5, 2021, "peter")
    raw = base64.b64decode(sections.packed([face, face], {"anna": 0, "peter": 1}))
    assert len(raw) == 12
    assert raw[:6] == bytes([1, 44, 255, 64, 121, 1])


def test_a_chart_escapes_its_words_and_draws_every_bar_and_threshold() -> None:
    drawn = charts.draw(charts.Bars("x", "<b>", 'a "quote"', "axis", "faces", ["<script>", "b"], [3, 0]))
    assert "<script>" not in drawn.svg and "<b>" not in drawn.svg and "&lt;script&gt;: 3 faces" in drawn.svg
    assert drawn.svg.count("<rect") == 1
    scale = charts.draw(charts.Bars("x", "t", "s", "axis", "faces", ["0 to 1", "1 to 2"], [1, 2], (0.0, 2.0),
                                     [(0.5, "limit <here>")]))
    assert scale.svg.count('<line class="limit"') == 1 and "limit &lt;here&gt;" in scale.svg
    assert scale.rows == [("0 to 1", 1), ("1 to 2", 2)]
