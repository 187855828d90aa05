"""The usual ways to cluster faces, which benchmarks/identities.py compares ours with. Unit rows in, labels out.

Leiden and Infomap are asked where their packages are: pip install leidenalg igraph infomap, in an environment of one's
own; the project does not need them.
"""

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
from scipy.cluster import hierarchy
from scipy.sparse import coo_array
from scipy.spatial.distance import squareform
from sklearn.cluster import DBSCAN, HDBSCAN

DISTANCES = (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70)
Labels = Iterator[tuple[object, np.ndarray]]        # parameter, labels (N,)


def average_linkage(rows: np.ndarray) -> Labels:
    tree = hierarchy.linkage(squareform(apart(rows), checks=False), "average")
    for distance in DISTANCES:
        yield distance, hierarchy.fcluster(tree, distance, "distance")


def immich(rows: np.ndarray) -> Labels:
    """As its machine learning does it: a core face has three within its distance, which is 0.5 by default."""
    distance = apart(rows)
    for eps in DISTANCES:
        yield eps, alone(DBSCAN(eps=eps, min_samples=3, metric="precomputed").fit_predict(distance))


def hdbscan(rows: np.ndarray) -> Labels:
    distance = apart(rows)
    for size in (2, 3, 6):
        yield size, alone(HDBSCAN(min_cluster_size=size, min_samples=2, metric="precomputed", copy=True)
                          .fit_predict(distance))


def chinese_whispers(rows: np.ndarray) -> Labels:
    similar = rows @ rows.T
    for distance in DISTANCES:
        yield distance, whisper(similar, 1 - distance)


def whisper(similar: np.ndarray, least: float, rounds: int = 20) -> np.ndarray:
    """Each face takes the label that weighs most among its neighbours, in random order, until none changes."""
    rng, labels = np.random.default_rng(0), np.arange(len(similar))
    near = [faces[faces != row] for row, faces in enumerate(map(np.flatnonzero, similar >= least))]
    for _ in range(rounds):
        before = labels.copy()
        for face in rng.permutation(len(similar)):
            if len(near[face]):
                names, number = np.unique(labels[near[face]], return_inverse=True)
                labels[face] = names[np.bincount(number, similar[face, near[face]]).argmax()]
        if np.array_equal(before, labels):
            break
    return labels


def leiden(rows: np.ndarray) -> Labels:
    import igraph
    import leidenalg
    for distance in DISTANCES:
        edges = links(rows, 1 - distance)
        graph = igraph.Graph(len(rows), np.stack([edges.row, edges.col], axis=1).tolist())
        found = leidenalg.find_partition(graph, leidenalg.ModularityVertexPartition, weights=edges.data, seed=0)
        yield distance, np.array(found.membership)


def infomap(rows: np.ndarray) -> Labels:
    from infomap import Infomap
    for distance in DISTANCES:
        edges = links(rows, 1 - distance)
        walk = Infomap(silent=True, two_level=True, seed=1)
        walk.add_nodes(range(len(rows)))
        for one, other, weight in zip(edges.row.tolist(), edges.col.tolist(), edges.data.tolist(), strict=True):
            walk.add_link(one, other, weight)
        walk.run()
        labels = np.arange(len(rows)) + len(rows)
        for node, module in walk.get_modules().items():
            labels[node] = module
        yield distance, labels


def links(rows: np.ndarray, least: float) -> coo_array:
    """Pairs of rows that reach a similarity, each once, with it."""
    similar = np.triu(rows @ rows.T, 1)
    return coo_array(np.where(similar >= least, similar, 0))


def apart(rows: np.ndarray) -> np.ndarray:
    distance = np.clip(1 - rows.astype(np.float64) @ rows.T.astype(np.float64), 0, 2)
    np.fill_diagonal(distance, 0)
    return (distance + distance.T) / 2


def alone(labels: np.ndarray) -> np.ndarray:
    """Noise, -1, as clusters of one."""
    return np.where(labels < 0, labels.max(initial=0) + 1 + np.arange(len(labels)), labels)


USUAL: dict[str, Callable[[np.ndarray], Labels]] = {
    "average linkage": average_linkage, "DBSCAN as Immich": immich, "HDBSCAN": hdbscan,
    "Chinese whispers": chinese_whispers}
if importlib.util.find_spec("leidenalg"):
    USUAL["Leiden"] = leiden
if importlib.util.find_spec("infomap"):
    USUAL["Infomap"] = infomap
