"""Libraries of made-up faces with truth, whose norms and garbage are those of the cache of the labelled photos.

A raw embedding is a person's direction plus noise, and its norm says how much of it is the person: with a noise of
NOISE of the median norm, a face of clarity c (norm over median) lies at cosine sqrt(1 - (NOISE / c)²) to its person.
What no person is in (turned, half, blurred to nothing) has a norm of its own and lies near a few common directions.
`python benchmarks/identities.py --like` prints how near to that the labelled photos are.

    strangers   a thousand people, nearly all of them seen a few times; look-alikes among them
    family      sixty people seen often, siblings and years apart
    kin         as family, a third of them siblings who look alike (cosine 0.5 to 0.7) and stand side by side
    years       as family, over twelve years, of which a third of the people are children
    poor        as family, with a third of the faces soft, occluded, turned or garbage, and mirrors in the photos
"""

import sys
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from facesets.formats import cache  # noqa: E402

NOISE = 0.64        # of the median norm
D, INNER = 128, 108     # two strangers have a cosine of 0 ± 0.096
KINDS = ("strangers", "family", "kin", "poor", "years")


def made(kind: str, seed: int, like: cache.Cache, names: np.ndarray) -> tuple[cache.Cache, np.ndarray, np.ndarray]:
    """A library of a kind, whose clarity is that of the cache `like` with its `names`; its names, and all judged."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    clarity = like.norms / np.median(like.norms)
    named, dim = clarity[names != ""], clarity[(names == "") & (clarity < 0.65)]
    people, sizes, siblings = _people(kind, rng)
    who = np.repeat(np.arange(len(sizes)), sizes)
    year = rng.integers(2010, 2022, len(who))
    modes = _ages(people, who, year, rng) if kind == "years" else _modes(people, who, sizes, rng)
    c = rng.choice(named, len(who)) * rng.normal(1, 0.06, len(sizes))[who]
    share = np.sqrt(np.clip(1 - (NOISE / c) ** 2, 0, None))
    odd = rng.random(len(who)) < 0.03       # glasses, a hand: as clear, and yet less of the person
    share *= np.where(odd, rng.uniform(0.4, 1, len(who)), rng.normal(1, 0.06, len(who)))
    share *= rng.normal(1, 0.06, len(sizes))[who]       # some people are like themselves more than others
    common = _unit(_inner(rng, 1) + 0.7 * _inner(rng, 4))
    noise = _inner(rng, len(who))
    if kind == "poor":
        spoil = rng.random(len(who)) < 0.3
        share[spoil] *= rng.uniform(0.2, 0.9, spoil.sum())
        c[spoil] = NOISE / np.sqrt(1 - np.clip(share[spoil], 0, 0.95) ** 2) * rng.uniform(0.7, 1, spoil.sum())
        noise[spoil] = _towards(common, noise[spoil], c[spoil], rng)
    share = np.clip(share, 0, 0.97)[:, None]
    rows = _unit(share * modes + np.sqrt(1 - share ** 2) * noise)
    many = len(who) // (4 if kind == "poor" else 10)        # garbage
    junk_c = rng.choice(dim, many)
    junk = _towards(common, _inner(rng, many), junk_c, rng)
    photos = _photos(who, len(sizes), siblings, rng)
    if kind == "years":     # a photo is of one year
        photos = np.unique(photos * 12 + year - 2010, return_inverse=True)[1]
    everywhere = rng.integers(photos.max() + 1, size=many)
    if kind == "poor":      # mirrors: the same face again in its photo
        twin = np.flatnonzero(rng.random(len(who)) < 0.05)
        rows, c = np.concatenate([rows, _unit(rows[twin] + 0.5 * _inner(rng, len(twin)))]), np.append(c, c[twin])
        who, photos = np.append(who, who[twin]), np.append(photos, photos[twin])
        year = np.append(year, year[twin])
    names = np.append(np.array([f"p{number}" for number in who], object), [""] * many)
    return _cache(np.concatenate([rows, junk]), np.append(c, junk_c), np.append(photos, everywhere), names,
                  np.append(year, [2015] * many), rng)


def _towards(common: np.ndarray, noise: np.ndarray, clarity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The noise of dim faces is not all their own: the dimmer, the more they are like each other."""
    weight = np.clip(1.1 - 1.2 * clarity + rng.normal(0, 0.1, len(noise)), 0, 0.85)[:, None]
    return _unit(weight * common[rng.integers(len(common), size=len(noise))] + np.sqrt(1 - weight ** 2) * noise)


def _people(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P, D) directions, (P,) faces of each, and (S, 2) who are siblings; some others are alike."""
    if kind == "strangers":
        sizes = np.sort(np.minimum(1 + rng.pareto(0.95, 1100).astype(int), 150))[::-1]
    else:
        sizes = np.concatenate([rng.integers(6, 120, 60), rng.integers(1, 6, 300)])
    group = _inner(rng, 10)[rng.integers(10, size=len(sizes))]
    alike = rng.uniform(0, 0.12, (len(sizes), 1)) + 0.2 * (rng.random((len(sizes), 1)) < 0.2)
    people = _unit(np.sqrt(alike) * group + np.sqrt(1 - alike) * _inner(rng, len(sizes)))
    pairs = rng.permutation(len(sizes))[:len(sizes) // 10 * 2].reshape(-1, 2)
    like = rng.uniform(0.3, 0.5, (len(pairs), 1))
    if kind == "kin":
        pairs, like = np.arange(20).reshape(-1, 2), rng.uniform(0.5, 0.7, (10, 1))
    people[pairs[:, 1]] = _unit(like * people[pairs[:, 0]] + np.sqrt(1 - like ** 2) * people[pairs[:, 1]])
    return people, sizes, pairs


def _modes(people: np.ndarray, who: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, D): the person as it is in each photo: one to three ages, the first the most frequent."""
    number = np.minimum(rng.geometric(0.7, len(who)) - 1, np.minimum(sizes[who] // 10, 2))
    share = rng.uniform(0.75, 0.97, (len(people), 3, 1))
    others = _inner(rng, len(people) * 3).reshape(-1, 3, D)
    modes = _unit(np.sqrt(share) * people[:, None] + np.sqrt(1 - share) * others)
    modes[:, 0] = people
    return np.asarray(modes[who, number])


def _ages(people: np.ndarray, who: np.ndarray, year: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, D): the person as it is in each year, of which little is left after ten in a child."""
    stays = np.where(np.arange(len(people)) % 3 == 0, 0.92, 0.99)[:, None]
    ages = [people]
    for _ in range(2010, 2022):
        ages.append(_unit(stays * ages[-1] + np.sqrt(1 - stays ** 2) * _inner(rng, len(people))))
    return np.stack(ages)[year - 2010, who]


def _photos(who: np.ndarray, people: int, siblings: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) photo of each face: one to four people of a circle of ten or so, a person once."""
    circle = rng.permutation(people) // 10
    circle[siblings[:, 1]] = circle[siblings[:, 0]]
    photo = np.empty(len(who), np.int64)
    number = 0
    for which in range(circle.max() + 1):
        left = {person: list(rng.permutation(np.flatnonzero(who == person)))
                for person in np.flatnonzero(circle == which)}
        while left:
            names = list(left)
            for person in rng.permutation(names)[:rng.choice(4, p=[0.5, 0.3, 0.15, 0.05]) + 1]:
                photo[left[person].pop()] = number
                if not left[person]:
                    del left[person]
            number += 1
    return photo


def _cache(rows: np.ndarray, clarity: np.ndarray, photos: np.ndarray, names: np.ndarray, year: np.ndarray,
           rng: np.random.Generator) -> tuple[cache.Cache, np.ndarray, np.ndarray]:
    faces = np.zeros(len(rows), cache.FACE)
    order = rng.permutation(len(rows))
    faces["photo"] = photos[order]
    place = 200 * np.arange(len(rows))
    faces["box"] = np.stack([place, place * 0, place + 100, place * 0 + 100], axis=1)
    faces["det_score"], faces["face_short"], faces["blur"] = 0.8, 100, 99
    faces["quality"] = np.clip(0.5 * clarity[order], 0, 1)
    model = cache.Model("generated", "9" * 64, "9" * 64, D, 0.55, 0.65)
    taken = dict(zip(photos[::-1].tolist(), year[::-1].tolist(), strict=True))     # of the first face in it
    listed = [cache.Photo(f"/generated/{number}.jpg", f"{number:064x}", "faces", taken_at=f"{taken[number]}-06-01")
              for number in range(photos.max() + 1)]
    made = cache.Cache(model, listed, faces, rows[order].astype(np.float32), (10 * clarity[order]).astype(np.float32))
    return made, names[order], np.ones(len(rows), bool)


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def _inner(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, D) unit rows of the INNER dimensions that recognisers use."""
    rows = np.zeros((n, D))
    rows[:, :INNER] = rng.standard_normal((n, INNER))
    return _unit(rows)
