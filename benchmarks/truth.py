"""The sets of faces whose people are known that benchmarks/identities.py and growth.py judge on, by name.

    insightface_small-plain ...     a pack and a kind of the labelled photos, see labelled.py
    strangers-20 ...                a kind and a seed of made-up libraries, see generated.py
    two_users                       the plain photos, every one of them taken by one of two users at random
    collages                        the plain photos, and of everybody with twelve faces a picture of two of them, in
                                    four copies
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

import generated  # noqa: E402
import labelled  # noqa: E402

from facesets.cluster.pool import clarity_of  # noqa: E402
from facesets.formats import cache  # noqa: E402

REPORT = (20, 21, 30, 31)       # seeds of made-up libraries
LIKE = "insightface_small-plain"
COLLAGED, COPIES = 12, 4        # faces of whom collages show, and how often each is there
RE_ENCODED = 0.1                # length of the noise of a copy


@dataclass
class Set:
    """N faces with the truth: names (N,), "" for nobody in particular; judged (N,) whether a face counts."""

    caches: list[cache.Cache]
    names: np.ndarray
    judged: np.ndarray

    @property
    def clarity(self) -> np.ndarray:
        return clarity_of(np.concatenate([one.norms for one in self.caches]))

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate([one.embeddings for one in self.caches])

    @property
    def photos(self) -> np.ndarray:
        return np.unique([one.photos[number].sha256 for one in self.caches for number in one.faces["photo"]],
                         return_inverse=True)[1]


def sets(keep: Path, wanted: Sequence[str]) -> Iterator[tuple[str, Set]]:
    """Those of the report, or those `wanted` by name."""
    everything = [*(f"{pack}-{kind}" for pack in labelled.PACKS for kind in labelled.KINDS), "two_users",
                  *(f"{kind}-{seed}" for kind in generated.KINDS for seed in REPORT)]
    for name in wanted or everything:
        yield name, one(keep, name)


def one(keep: Path, name: str) -> Set:
    first, _, last = name.rpartition("-")
    if name in MADE_OF_PLAIN:
        return MADE_OF_PLAIN[name](one(keep, LIKE))
    if first in generated.KINDS:
        like = one(keep, LIKE)
        made, names, judged = generated.made(first, int(last), like.caches[0], like.names)
    else:
        made = labelled.embedded(first, last, keep)
        names, judged = labelled.names_of(made, last, keep)
    return Set([made], names, judged)


def two_users(whole: Set) -> Set:
    hers = np.random.default_rng(0).random(len(whole.caches[0].photos)) < 0.5
    rows = [np.flatnonzero(hers[whole.caches[0].faces["photo"]] == user) for user in (True, False)]
    order = np.concatenate(rows)
    return Set([part(whole.caches[0], which) for which in rows], whole.names[order], whole.judged[order])


def collages(whole: Set) -> Set:
    rng, plain = np.random.default_rng(0), whole.caches[0]
    people = sorted(name for name, faces in Counter(whole.names[whole.clarity >= 0.9]).items()
                    if name and faces >= COLLAGED)
    two = [rng.choice(np.flatnonzero((whole.names == name) & (whole.clarity >= 0.9)), 2, replace=False)
           for name in people]
    shown = np.concatenate([pair for pair in two for _ in range(COPIES)])      # two rows of each new photo
    photos = [*plain.photos, *(cache.Photo(f"/collages/{number}.jpg", f"{number:064x}", "faces")
                               for number in range(len(shown) // 2))]
    faces = plain.faces[shown]
    faces["photo"] = len(plain.photos) + np.arange(len(shown)) // 2
    faces["box"][1::2] += 10_000        # beside the other one
    noise = rng.standard_normal((len(shown), plain.model.dimension))
    rows = plain.embeddings[shown] + RE_ENCODED * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    made = cache.Cache(plain.model, photos, np.append(plain.faces, faces),
                       np.concatenate([plain.embeddings, rows.astype(np.float32)]),
                       np.append(plain.norms, plain.norms[shown]))
    return Set([made], np.append(whole.names, whole.names[shown]), np.append(whole.judged, whole.judged[shown]))


MADE_OF_PLAIN = {"two_users": two_users, "collages": collages}


def part(whole: cache.Cache, rows: np.ndarray) -> cache.Cache:
    """The faces `rows`, all photos kept."""
    return replace(whole, faces=whole.faces[rows], embeddings=whole.embeddings[rows], norms=whole.norms[rows],
                   persons=[whole.persons[row] for row in rows])


def halves(whole: Set) -> list[Set]:
    """Half of the people each; who has no name is divided by photo."""
    people = np.where(whole.names == "", -1, np.unique(whole.names.astype(str), return_inverse=True)[1])
    return [Set([part(whole.caches[0], np.flatnonzero(half))], whole.names[half], whole.judged[half])
            for half in coin(people, whole.photos)]


def coin(people: np.ndarray, photos: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(N,) bool twice: each person in one half, famous and rare ones evenly; unnamed faces by their photo."""
    rng = np.random.default_rng(seed)
    names, faces = np.unique(people[people >= 0], return_counts=True)
    by_fame = names[np.lexsort((rng.random(len(names)), -faces))]
    first = {int(name) for pair in range(0, len(by_fame), 2) for name in by_fame[pair + rng.integers(2)::2][:1]}
    coin = dict(zip(np.unique(photos).tolist(), rng.random(len(np.unique(photos))) < 0.5, strict=True))
    half = np.array([coin[photo] if who < 0 else who in first
                     for who, photo in zip(people.tolist(), photos.tolist(), strict=True)], bool)
    return half, ~half
