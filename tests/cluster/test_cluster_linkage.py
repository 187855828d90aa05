"""The labels are sklearn's, whatever the rows, the threshold and the way that they are found."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import AgglomerativeClustering

from facesets.cluster import linkage, neighbours, tiles
from facesets.cluster.linkage import average_linkage

LONG = bool(os.environ.get("FACESETS_LONG_TESTS"))
EXAMPLES = settings(max_examples=2000 if LONG else 80, deadline=None, suppress_health_check=list(HealthCheck))


def unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def faces(n: int, people: int, d: int = 64, seed: int = 0) -> np.ndarray:
    """n faces of people of very different fame, as a recogniser would place them."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((people, d)))
    who = rng.choice(people, n, p=(p := 1 / np.arange(1, people + 1)) / p.sum())
    spread = rng.uniform(0.6, 1.1, (n, 1))
    return unit(centres[who] + spread * unit(rng.standard_normal((n, d))))


def by_sklearn(rows: np.ndarray, threshold: float) -> np.ndarray:
    model = AgglomerativeClustering(metric="cosine", linkage="average", distance_threshold=threshold, n_clusters=None)
    return model.fit_predict(rows)


def assert_same_clusters(ours: np.ndarray, theirs: np.ndarray) -> None:
    both = np.unique(np.stack([ours, theirs], axis=1), axis=0)
    assert len(both) == len(np.unique(ours)) == len(np.unique(theirs))


ROWS = st.integers(2, 6).flatmap(lambda d: st.lists(
    st.lists(st.floats(-1, 1, width=32), min_size=d, max_size=d).filter(lambda row: np.linalg.norm(row) > 0.05),
    min_size=2, max_size=40))
GRID = st.integers(2, 5).flatmap(lambda d: st.lists(     # near ties and near copies everywhere
    st.lists(st.sampled_from([-1, 0, 1]), min_size=d, max_size=d).filter(any), min_size=2, max_size=40))
THRESHOLDS = st.one_of(st.floats(0, 2.5), st.sampled_from([0.0, 1e-16, 1e-7, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.1]),
                       st.sampled_from([1 - 2 ** -0.5, 1 - 3 ** -0.5, 1 + 2 ** -0.5]))


@EXAMPLES
@given(st.one_of(ROWS, GRID), THRESHOLDS, st.sampled_from([2, 3, 7, linkage.DENSE]))
def test_any_rows_get_the_labels_of_sklearn(rows: list, threshold: float, most_dense: int) -> None:
    apart = 0.01 * np.random.default_rng(0).random((len(rows), len(rows[0])))   # of equally near ones, either is right
    given_rows = unit(np.array(rows) + apart)
    ours = average_linkage(given_rows, threshold, most_dense=most_dense)
    assert_same_clusters(ours, by_sklearn(given_rows, threshold))


@pytest.mark.parametrize("threshold", [0.2, 0.35, 0.45, 0.6, 0.9, 1.05])
@pytest.mark.parametrize("way", [{}, {"most_dense": 150}, {"most_dense": 20}])
def test_faces_get_the_labels_of_sklearn(threshold: float, way: dict) -> None:
    rows = faces(1200, 150)
    assert_same_clusters(average_linkage(rows, threshold, **way), by_sklearn(rows, threshold))


@pytest.mark.parametrize("most_dense", [40, linkage.DENSE])
def test_copies_get_the_labels_of_sklearn(most_dense: int) -> None:
    rng = np.random.default_rng(1)
    rows = faces(400, 60)[rng.integers(0, 400, 1500)]
    for threshold in (0.3, 0.5, 0.8):
        assert_same_clusters(average_linkage(rows, threshold, most_dense=most_dense), by_sklearn(rows, threshold))


@pytest.mark.parametrize("way", [{}, {"most_dense": 200}])
def test_any_order_of_rows_and_any_number_of_cores_give_the_same_labels(way: dict) -> None:
    rows = faces(2600, 700, seed=5)     # in more tiles than there are cores
    labels = average_linkage(rows, 0.45, **way)
    order = np.random.default_rng(0).permutation(len(rows))
    assert_same_clusters(average_linkage(rows[order], 0.45, **way), labels[order])
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no way to take cores away here")
    ours = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(ours)})
        assert neighbours.cores() == 1
        assert np.array_equal(average_linkage(rows, 0.45, **way), labels)
    finally:
        os.sched_setaffinity(0, ours)


def test_thousands_of_copies_are_one_cluster() -> None:
    copies = np.repeat(faces(2, 2), 2000, axis=0)
    assert average_linkage(copies, 0.3, most_dense=500).tolist() == [0] * 2000 + [1] * 2000


def test_no_row_one_row_two_rows() -> None:
    assert average_linkage(np.zeros((0, 8), np.float32), 0.5).tolist() == []
    assert average_linkage(unit(np.ones((1, 8))), 0.5).tolist() == [0]
    assert average_linkage(unit(np.ones((2, 8))), 0.5).tolist() == [0, 0]
    assert average_linkage(unit(np.eye(2)), 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, 1.5])
def test_rows_that_are_no_unit_rows_are_refused(bad: float) -> None:
    rows = faces(5, 2)
    rows[3] = bad
    with pytest.raises(ValueError, match="unit rows"):
        average_linkage(rows, 0.5)


def test_labels_count_up_in_the_order_of_first_rows() -> None:
    labels = average_linkage(faces(300, 20), 0.5)
    first = np.unique(labels, return_index=True)[1]
    assert np.array_equal(np.unique(labels), np.arange(len(first))) and (np.diff(first) > 0).all()


@given(st.integers(0, 10_000), st.floats(0.3, 1.0), st.sampled_from([0.0, 0.1, 0.25, 0.6]), st.booleans())
@settings(max_examples=300 if LONG else 40, deadline=None)
def test_with_penalty_and_strictness_it_is_what_merging_the_nearest_pair_first_gives(
        seed: int, threshold: float, penalty: float, stricter: bool) -> None:
    rng = np.random.default_rng(seed)
    rows, photos = faces(40, 6, 16, seed), rng.integers(0, 15, 40)
    strict = rng.uniform(0, 0.5, 40) if stricter else None
    ours = average_linkage(rows, threshold, photos=photos, penalty=penalty, strict=strict, most_dense=12)
    assert_same_clusters(ours, nearest_pair_first(rows, threshold, photos, penalty, strict))


def nearest_pair_first(rows: np.ndarray, threshold: float, photos: np.ndarray, penalty: float,
                       strict: np.ndarray | None) -> np.ndarray:
    strict = np.zeros(len(rows)) if strict is None else strict
    clusters = [[row] for row in range(len(rows))]
    exact = rows.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)

    def similarity(a: list[int], b: list[int]) -> float:
        conflicts = (photos[a][:, None] == photos[b]).sum()
        alike = (exact[a] @ exact[b].T - np.outer(strict[a], strict[b])).mean()
        return float(alike - penalty * conflicts / min(len(a), len(b)))

    while len(clusters) > 1:
        best, i, j = max((similarity(clusters[i], clusters[j]), i, j)
                         for i in range(len(clusters)) for j in range(i))
        if best <= 1 - threshold:
            break
        clusters[j] += clusters.pop(i)
    labels = np.empty(len(rows), int)
    for number, members in enumerate(clusters):
        labels[members] = number
    return labels


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("least", [0.1, 0.45, 0.8])
def test_components_are_those_of_the_whole_matrix(kind: str, least: float) -> None:
    rows = faces(5000, 900)         # more than the pivots and one tile
    i, j = np.nonzero(rows @ rows.T >= least)
    expected = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(5000, 5000)), directed=False)[1]
    assert_same_clusters(neighbours.components(rows, least, kind), expected)


@EXAMPLES
@given(st.integers(0, 10_000), st.floats(-1, 1), st.sampled_from([1.0, 0.2, 0.001]))
def test_neither_kind_misses_a_pair_and_what_is_sure_is_true(seed: int, least: float, evenness: float) -> None:
    rng = np.random.default_rng(seed)
    rows = unit(rng.standard_normal((60, 32)) * np.where(rng.random((60, 32)) < 0.1, 1, evenness))
    order = rng.permutation(60)
    for make in (tiles.Int8Tiles, tiles.Float32Tiles):
        quick = make(rows, order, least)
        hits = quick.hits(quick.panel(order[:30]), 30, 60)
        exact = rows[order[:30]].astype(np.float64) @ rows[order[30:]].astype(np.float64).T
        reached = np.zeros((30, 30), bool)
        reached[hits.left, hits.right] = True
        assert reached[exact >= least].all()
        assert (exact[hits.left[hits.sure], hits.right[hits.sure]] >= least - 2 * tiles.float_slack(32)).all()


def test_int8_is_taken_only_where_its_products_are_right() -> None:
    if not tiles.int8_is_right():
        pytest.skip("no right int8 product on this CPU")
    left, right = np.full((64, 512), 255, np.uint8), np.full((512, 64), -127, np.int8)
    assert (tiles.Product("int8")(left, right) == -127 * 127 * 512).all()
