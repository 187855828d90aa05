"""Which faces of a person get a picture, and why the others do not."""

import time

import numpy as np
import pytest
from drawn import face_of, person
from hypothesis import given, settings
from hypothesis import strategies as st

from facesets.export.select import best_first, one_moment, select, varied
from facesets.formats import quality as qualities
from facesets.formats import vectors

OUTLIER, DUPLICATE = 0.45, 0.95


def chosen(embeddings: np.ndarray, quality: list[float], photos: list[int] | None = None):
    n = len(embeddings)
    return select(embeddings, np.array(quality, np.float32), np.array(photos or range(n)), [f"f{i}" for i in range(n)],
                  OUTLIER, DUPLICATE)


def faces(count: int, who: int = 1) -> np.ndarray:
    return np.array([face_of(person(who), 100 * who + number) for number in range(count)])


def test_the_best_come_first() -> None:
    found = chosen(faces(4), [0.2, 0.9, 0.5, 0.7])
    assert found.order == [1, 3, 2, 0] and not found.reasons


def test_a_stranger_is_left_out_with_the_distance_as_reason() -> None:
    found = chosen(np.vstack([faces(6), person(2)[None]]), [0.5] * 6 + [1.0])
    assert 6 not in found.order and found.reasons[6].endswith("from the centroid, more than 0.45")
    assert [index for index, why in found.reasons.items() if "from the centroid" in why] == [6]
    assert found.distance[6] > OUTLIER


def test_of_a_burst_only_the_best_frame_gets_a_picture() -> None:
    burst = np.array([face_of(faces(1)[0], number, spread=0.1) for number in range(5)])
    found = chosen(np.vstack([faces(5), burst]), [0.5] * 5 + [0.6, 0.95, 0.7, 0.8, 0.65])
    assert [row for row in found.order if row >= 5] == [6]
    assert sum("near-duplicate of f6" in reason for reason in found.reasons.values()) == 5    # four frames, and face 0


def test_one_face_a_photo_the_nearest() -> None:
    rows = faces(6)
    centre = rows.mean(axis=0)
    apart = 1 - rows @ (centre / np.linalg.norm(centre))
    found = chosen(rows, [0.5] * 6, [0, 0, 1, 2, 3, 4])
    loser = 0 if apart[0] > apart[1] else 1
    assert loser not in found.order and "same photo" in found.reasons[loser]


def test_nothing_gives_nothing() -> None:
    found = chosen(np.zeros((0, 512), np.float32), [])
    assert found.order == [] and found.reasons == {}
    assert varied(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, 2)), 8) == []


def test_one_face_is_chosen() -> None:
    assert chosen(faces(1), [0.1]).order == [0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.floats(0, 1)), min_size=1, max_size=25))
def test_every_face_is_chosen_or_has_a_reason_and_no_two_chosen_are_alike(items: list[tuple[int, int, float]]) -> None:
    rows = np.array([face_of(person(who), number) for who, number, _ in items])
    found = chosen(rows, [quality for _, _, quality in items], [number for _, number, _ in items])
    assert sorted([*found.order, *found.reasons]) == list(range(len(items))) and found.order
    likeness = rows[found.order] @ rows[found.order].T - np.eye(len(found.order))
    assert likeness.max(initial=0) < DUPLICATE
    photos = [items[row][1] for row in found.order]
    assert len(set(photos)) == len(photos)


def test_the_top_varies_in_pose_and_light_instead_of_repeating_the_best_moment() -> None:
    quality = np.array([0.9] * 8 + [0.8] * 4)
    yaw = np.array([0.0] * 8 + [-35, 35, 0, 0])
    light = np.array([[0.5, 0.0]] * 10 + [[0.15, 0.0], [0.5, 0.4]])
    top = varied(quality, yaw, np.zeros(12), light, 5)
    assert top[0] == 0 and set(top) == {0, 8, 9, 10, 11}


def test_quality_outweighs_variety() -> None:
    assert 2 not in varied(np.array([0.9, 0.88, 0.1]), np.array([0, 0, 60.0]), np.zeros(3), np.full((3, 2), 0.5), 2)


def test_what_is_not_enlarged_comes_first_the_untouched_before_the_cleaned() -> None:
    worth = np.array([0.9, 0.8, 0.7, 0.6, 0.95])
    enlarged = np.array([True, False, False, False, True])
    cleaned = np.array([False, True, False, False, True])
    assert best_first(worth, np.zeros(5), cleaned, enlarged) == [2, 3, 1, 0, 4]


def test_a_clear_face_is_chosen_before_one_that_only_looks_good() -> None:
    said = qualities.worth(np.array([0.8, 0.7]), np.array([7.0, 12.0]), 10.0)
    assert said[1] > said[0] and ((said >= 0) & (said <= 1)).all()


def test_of_one_moment_the_best_stays_where_pixels_agree_too() -> None:
    same, other = np.eye(2, 8, dtype=np.float32)
    rows = np.array([same, same, same, other, same])
    look, later = "f0" * 32, "0f" * 32
    nearly = "ff" + look[2:]        # 4 of 256 bits differ
    assert one_moment(rows, [look, nearly, later, look, ""]) == {1: 0}


def test_moments_of_thousands_of_faces_are_told_apart_in_seconds() -> None:
    rng = np.random.default_rng(0)
    rows = np.array([face_of(person(1), number, 0.2) for number in range(2500)])
    looks = [rng.bytes(32).hex() for _ in rows]
    looks[2499] = looks[1]
    before = time.process_time()
    assert one_moment(rows, looks) == {2499: 1}
    assert time.process_time() - before < 25       # a list of pairs took minutes


def test_of_many_faces_each_is_held_against_all_before_it_that_show_a_moment_of_their_own() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(900, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    own, expected = [], {}
    for index, likeness in enumerate(rows @ rows.T):
        if own and likeness[own].max() >= 0.9:
            expected[index] = own[likeness[own].argmax()]
        else:
            own.append(index)
    found = vectors.again(rows, 0.9)
    assert {index: better for index, (better, _) in found.items()} == expected and len(found) > 100
    assert all(likeness == pytest.approx(rows[index] @ rows[better]) for index, (better, likeness) in found.items())
