"""The measures, against counting by hand, and the calibration built on them."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesets.cluster import calibrate, identities
from facesets.cluster.measures import bcubed, pairwise
from facesets.embed import packs
from facesets.formats import cache, distances

COARSE = [0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75]
LABELS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


@given(LABELS)
@settings(max_examples=100, deadline=None)
def test_measures_are_what_counting_pairs_and_faces_gives(both: list[tuple[int, int]]) -> None:
    labels, truth = np.array(both).T
    pairs = list(itertools.combinations(range(len(both)), 2))
    right = sum(labels[i] == labels[j] and truth[i] == truth[j] for i, j in pairs)
    found, wanted = (sum(who[i] == who[j] for i, j in pairs) for who in (labels, truth))
    score = pairwise(labels, truth)
    assert score.precision == (right / found if found else 1) and score.recall == (right / wanted if wanted else 1)

    together = (labels[:, None] == labels) & (truth[:, None] == truth)
    cubed = bcubed(labels, truth)
    assert cubed.precision == pytest.approx((together.sum(1) / (labels[:, None] == labels).sum(1)).mean())
    assert cubed.recall == pytest.approx((together.sum(1) / (truth[:, None] == truth).sum(1)).mean())


def people(spread: float, seed: int = 0, d: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """20 people of 12 faces and 60 strangers, whose faces lie `spread` around them."""
    rng = np.random.default_rng(seed)
    who = np.concatenate([np.repeat(np.arange(20), 12), np.arange(20, 80)])
    centres, noise = rng.standard_normal((80, d)), rng.standard_normal((len(who), d))
    rows = centres[who] / np.linalg.norm(centres[who], axis=1, keepdims=True)
    rows = rows + spread * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return rows, who, np.arange(len(who)), np.full(len(who), 0.9)


def test_calibration_finds_distances_that_hold_for_people_kept_apart() -> None:
    columns = people(0.8)
    ours = columns[1] % 2 == 0
    result = calibrate.calibrate(*(column[ours] for column in columns), distances=COARSE)
    known, cluster = calibrate.measure(*(column[~ours] for column in columns),
                                       (result.known_distance, result.cluster_distance))
    assert cluster.f > 0.97 and known.false_matches <= 0.03 and known.recall > 0.9
    assert result.known_distance <= result.cluster_distance
    told = calibrate.as_text(result)
    assert len(told) == 2 + len(COARSE) and sum("cluster_distance" in line for line in told) == 1


def test_what_a_few_labelled_people_give_is_never_looser_than_what_the_strangers_do() -> None:
    columns = people(1.0)
    most = calibrate.from_strangers(columns[0], columns[1], columns[3])
    found = calibrate.calibrate(*columns, distances=COARSE)
    assert most and found.known_distance <= most[0] and found.cluster_distance <= most[1]


def test_a_recogniser_that_spreads_people_wider_gets_looser_distances() -> None:
    tight, wide = (calibrate.calibrate(*people(spread), distances=COARSE).cluster_distance for spread in (0.4, 0.9))
    assert tight < wide


def test_strangers_tell_the_distances_of_a_recogniser_whoever_is_in_the_library() -> None:
    """Also where a person is a third of it, or a few are nearly all, and not where there are too few to tell."""
    rng = np.random.default_rng(0)
    many = rng.standard_normal((600, 108))
    mine = np.repeat(many[:1], 300, axis=0) + 0.6 * rng.standard_normal((300, 108))
    few = np.repeat(many[:8], 60, axis=0) + 0.6 * rng.standard_normal((480, 108))
    for rows in (many, np.concatenate([many[8:60], few]), np.concatenate([many, mine])):
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        found = calibrate.from_strangers(rows, np.arange(len(rows)), np.ones(len(rows)))
        assert found and found[0] == pytest.approx(0.55, abs=0.03) and found[1] == pytest.approx(0.65, abs=0.03)
    assert calibrate.from_strangers(rows[:20], np.arange(20), np.ones(20)) is None
    assert calibrate.from_strangers(rows, np.arange(len(rows)), np.full(len(rows), 0.8)) is None
    assert calibrate.from_strangers(rows, np.zeros(len(rows), int), np.ones(len(rows))) is None     # all in one photo
    assert calibrate.from_strangers(rows[-300:], np.arange(300), np.ones(300)) is None      # all one person


def test_distances_are_those_measured_else_the_strangers_and_of_buffalo_l_the_nearer_of_both() -> None:
    rng = np.random.default_rng(0)

    def taken(sha256: str, dimension: int) -> float:
        rows = rng.standard_normal((600, dimension))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        faces = np.zeros(600, cache.FACE)
        faces["photo"] = np.arange(600)
        model = cache.Model("pack", sha256, "d" * 64, dimension, *distances.of(sha256))
        made = cache.Cache(model, [cache.Photo(f"/{number}.jpg", f"{number:064x}", "faces") for number in range(600)],
                           faces, rows, np.ones(600, np.float32))
        return identities.with_distances([made])[0].model.known_distance
    buffalo_l, another = list(distances.MODELS)[:2]
    strangers = {dimension: taken("e" * 64, dimension) for dimension in (60, 128)}
    assert strangers[60] < distances.of(buffalo_l)[0] < strangers[128]
    assert taken(buffalo_l, 128) == distances.of(buffalo_l)[0] and taken(buffalo_l, 60) == strangers[60]
    assert taken(another, 60) == distances.of(another)[0]


@pytest.mark.parametrize("name", ["insightface_small", "embed_512"])
def test_a_pack_that_we_name_has_distances_of_its_own_and_they_are_those_of_its_recogniser(
        shared: Path, tmp_path: Path, name: str) -> None:
    recogniser = packs.open_pack(str(shared / "models" / name), tmp_path).recogniser
    found = distances.MODELS.get(recogniser.sha256)
    assert found and name in found.source and found != distances.BUFFALO_L
    assert 0.3 <= found.known_distance <= found.cluster_distance <= 0.9


def test_too_few_people_are_refused() -> None:
    few = [column[:36] for column in people(0.5)]
    with pytest.raises(ValueError, match="four people"):
        calibrate.calibrate(*few)


def test_what_depends_on_the_cluster_distance_moves_with_it() -> None:
    rules = calibrate.rules_at(0.6)
    assert (rules.cluster_distance, round(rules.known_distance, 6)) == (0.6, 0.5)
