"""Does our quality rank the faces first that are told apart best? Error against discard, after Grother and Tabassi.

Faces are dropped worst first, by one opinion after the other; of those that are left, every pair is compared. The
figure is the share of pairs of one person that a recogniser misses at the similarity that one in a thousand pairs of
strangers reaches (FNMR at FMR 0.001). An opinion that knows something makes it fall faster.

Run     python benchmarks/quality.py CACHE          a cache of the labelled photos: benchmarks/chain.py --keep DIR
Prints  one line an opinion: FNMR with 0, 10, 20, 30, 50 % dropped, and the area under the curve; by `order` pictures
        are put in order; the fit of the others was made on one half of the people and is judged on the other, ten times
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.preprocessing import QuantileTransformer

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

from chain import labelled_photos, true_names  # noqa: E402

from facesets.formats import cache, quality  # noqa: E402

DROPPED = (0.0, 0.1, 0.2, 0.3, 0.5)
FALSE_MATCHES = 1e-3
HALVES = 10


def opinions(faces: cache.Cache, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> (n,) of the faces `rows`, larger is better."""
    meta = faces.faces[rows]
    return {"ours": quality.score(meta), "det score": meta["det_score"], "norm": faces.norms[rows],
            "size": meta["face_short"], "blur": meta["blur"],
            "frontality": -np.maximum(np.abs(meta["yaw"]), np.abs(meta["pitch"]))}


def missed(similarity: np.ndarray, same: np.ndarray, kept: np.ndarray) -> float:
    """FNMR at FALSE_MATCHES among the faces `kept`. similarity, same (n, n)."""
    upper = np.triu_indices(len(kept), 1)
    alike, pairs = similarity[np.ix_(kept, kept)][upper], same[np.ix_(kept, kept)][upper]
    limit = np.quantile(alike[~pairs], 1 - FALSE_MATCHES)
    return float((alike[pairs] < limit).mean())


def curve(values: np.ndarray, similarity: np.ndarray, same: np.ndarray) -> list[float]:
    order = np.argsort(-values, kind="stable")
    return [missed(similarity, same, order[:round(len(order) * (1 - share))]) for share in DROPPED]


def fitted(columns: np.ndarray, target: np.ndarray, train: np.ndarray) -> np.ndarray:
    """(n,) what a ridge over the ranks of all opinions says, learned from the rows `train`."""
    ranks = QuantileTransformer(n_quantiles=200).fit(columns[train]).transform(columns)
    return np.asarray(Ridge(alpha=1.0).fit(ranks[train], target[train]).predict(ranks))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--shared", type=Path, default=CHECKOUT.parent / "shared")
    args = parser.parse_args(argv)
    faces = cache.read(args.cache)
    names = np.array([name or "" for name in true_names(faces, labelled_photos(args.shared / "photos", 0))])
    people, counts = np.unique(names[names != ""], return_counts=True)
    rows = np.flatnonzero(np.isin(names, people[counts > 1]))
    known, embeddings, said = names[rows], faces.embeddings[rows], opinions(faces, rows)
    similarity = embeddings @ embeddings.T
    same = known[:, None] == known[None]
    target = np.array([(similarity[row] @ same[row] - 1) / (same[row].sum() - 1) for row in range(len(rows))])
    columns = np.column_stack(list(said.values()))
    said["order"] = quality.worth(said["ours"], said["norm"], float(np.median(faces.norms)))
    curves: dict[str, list[list[float]]] = {name: [] for name in (*said, "fit")}
    for half in range(HALVES):
        chosen = np.random.default_rng(half).permutation(people[counts > 1])
        train = np.isin(known, chosen[::2])
        test = np.flatnonzero(~train)
        for name, values in {**said, "fit": fitted(columns, target, train)}.items():
            curves[name].append(curve(values[test], similarity[np.ix_(test, test)], same[np.ix_(test, test)]))
    print(f"{len(rows)} faces of {len(set(known))} people; FNMR at FMR {FALSE_MATCHES:g}, in per cent, dropped:")
    print(f"{'':12}" + "".join(f"{share:>8.0%}" for share in DROPPED) + f"{'area':>8}")
    for name, found in curves.items():
        mean = 100 * np.mean(found, axis=0)
        print(f"{name:12}" + "".join(f"{value:8.2f}" for value in mean)
              + f"{np.trapezoid(mean, DROPPED) / DROPPED[-1]:8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
