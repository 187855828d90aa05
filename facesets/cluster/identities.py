"""What a run of clustering proposes: known faces to their facesets, the rest to new ones. Tables in, proposal out.

Every face ends in exactly one of: held (in a faceset already), known, dropped (known, of somebody whom a person
dropped), ambiguous, rejected, new (in a new faceset), left out (of a new or thin one), thin, leftover. `counts` says
how many, and they add up to `faces`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ..common import terminal
from ..formats import distances
from ..formats.cache import Cache, Model
from ..formats.faceset import Faceset
from ..formats.proposal import Face, Group, Proposal
from ..formats.vectors import unit_mean
from . import calibrate, gates, groups
from .known import Match, match
from .linkage import members_of
from .machines import Machines
from .merging import apart, identities, twin
from .pool import Pool, pool
from .rules import Rules

SHARE = 0.25    # of the faces of a faceset, from which on it holds two times of a person, whoever put them together


def with_distances(caches: Sequence[Cache], ours: dict[str, Any] | None = None) -> Sequence[Cache]:
    """The caches with the distances that their own strangers give, where none were measured of the recogniser.

    Those of buffalo_l, measured in one home library, are not exceeded. `ours`: the library's model, whose distances
    hold where these are only some of its caches.
    """
    model = caches[0].model
    if distances.measured(model.sha256):
        return caches       # and have been read with them
    if ours and ours.get("sha256") == model.sha256:
        return [replace(one, model=Model(**ours)) for one in caches]
    faces = pool(caches)
    told = calibrate.from_strangers(faces.rows, faces.photo, faces.clarity)
    if not told:
        if model.sha256 not in distances.MODELS:
            terminal.say(f"{terminal.safe(model.name)}: too few faces to tell its distances by, so known "
                         f"{model.known_distance:g} and cluster {model.cluster_distance:g} where none are set, until "
                         "there are more")
        return caches
    if model.sha256 in distances.MODELS:
        most = distances.of(model.sha256)
        told = min(told[0], most[0]), min(told[1], most[1])
    if told != (model.known_distance, model.cluster_distance):
        terminal.say(f"{terminal.safe(model.name)}: distances as the strangers among these faces give them, known "
                     f"{told[0]:g} and cluster {told[1]:g} where none are set; `sort_faces.py calibrate` measures them")
    return [replace(one, model=replace(model, known_distance=told[0], cluster_distance=told[1])) for one in caches]


def propose(caches: Sequence[Cache], known: Sequence[Faceset], rules: Rules, *, run: str, made_by: str, created: str,
            paths: Sequence[str] = (), seen: Collection[str] = (), left_out: Collection[str] = (),
            machines: Machines | None = None) -> Proposal:
    """Who the faces of `caches` are. The same faces give the same proposal, in whatever order they come.

    `seen`: keys of faces that an earlier run looked at; those alone make no new faceset (see `seen`). `left_out`: short
    keys of faces that a person said are to stay in no faceset.
    """
    faces = pool(caches)
    held = _held(faces, known)
    reasons = gates.reasons(faces, rules, left_out)
    rejected = tuple(Face(faces.keys[face], 0.0, reasons[face]) for face in np.flatnonzero(~held) if reasons[face])
    free = np.array([face for face in np.flatnonzero(~held) if not reasons[face]], np.int64)
    find = machines.match if machines else match
    found = find(faces.rows[free], _centroids(known, faces), _forbidden(faces, free, known))
    near = rules.known(rules.clear(faces.clarity[free]))
    certain, torn = (test(near, rules.known_margin) for test in (found.certain, found.torn))
    certain &= ~_twins(faces, free, found, certain, known, rules)
    twice = certain & ~_first_of_photo(faces, free, found, certain, known, rules)
    certain &= ~twice
    extend = _extend(faces, free, found, certain, known)
    ambiguous = tuple(
        Face(faces.keys[free[at]], groups.rounded(found.distance[at]), _why(found, known, at, bool(torn[at])))
        for at in np.flatnonzero(torn | twice).tolist())
    clusters = _clusters(faces, free[~certain & ~twice & ~torn], rules, machines)
    adopted = _adopt(faces, clusters, known, rules, extend)
    clusters = [members[~np.isin(members, adopted)] for members in clusters]
    facesets, thin, leftover = _new_groups(faces, clusters, rules, seen)
    counts = _counts(len(faces), int(held.sum()), extend, len(ambiguous), rejected, facesets, thin, leftover)
    return Proposal(run=run, made_by=made_by, created=created, model=asdict(faces.model), caches=tuple(paths),
                    settings=asdict(rules), facesets=facesets, thin=thin, extend=extend, ambiguous=ambiguous,
                    rejected=rejected, leftover=leftover, counts=counts)


def _held(faces: Pool, known: Sequence[Faceset]) -> np.ndarray:
    """(N,) bool: faces that some faceset has, or has left out for a reason."""
    keys: set[str] = set().union(*(identity.face_keys for identity in known))
    return np.array([key in keys for key in faces.keys], bool)


def _centroids(known: Sequence[Faceset], faces: Pool) -> np.ndarray:
    """(P, D) float32."""
    return np.array([identity.centroid for identity in known], np.float32).reshape(len(known), faces.rows.shape[1])


def _forbidden(faces: Pool, asked: Sequence[np.ndarray] | np.ndarray, known: Sequence[Faceset]) -> dict[int, list[int]]:
    """Index into `asked`, faces or clusters of them -> identities that somebody said it is not."""
    refused: dict[str, set[int]] = {}
    for number, identity in enumerate(known):
        for key in identity.not_this:
            refused.setdefault(key, set()).add(number)
    forbidden: dict[int, list[int]] = {}
    for at, which in enumerate(asked) if refused else ():
        if numbers := set().union(*(refused.get(faces.keys[face], ()) for face in np.atleast_1d(which))):
            forbidden[at] = sorted(numbers)
    return forbidden


def _twins(faces: Pool, free: np.ndarray, found: Match, certain: np.ndarray, known: Sequence[Faceset],
           rules: Rules) -> np.ndarray:
    """(F,) bool: faces that are certain, but somebody else's, who stands beside the known one in photo after photo."""
    twins = np.zeros(len(free), bool)
    for number, identity in enumerate(known):
        which = np.flatnonzero(certain & (found.nearest == number))
        if len(which):
            twins[which] = _twin_of(identity, faces, free[which], rules)
    return twins


def _twin_of(identity: Faceset, faces: Pool, asked: np.ndarray, rules: Rules, more: Collection[str] = ()) -> np.ndarray:
    """(A,) bool: which of the faces `asked` are a twin's of somebody known, whose faces are its own and `more`.

    Where the faceset holds both faces of a photo, a collage, a person or an earlier run took both for this one. Where a
    person merged one that is the other, or many of its own faces are the other's, nobody is a twin.
    """
    held = Counter(key.partition("@")[0] for key in identity.face_keys)
    alone = {key for key in identity.face_keys if held[key.partition("@")[0]] == 1}
    rows = (faces.row_of.get(key) for key in alone.union(more))
    theirs = np.array(sorted(row for row in rows if row is not None), np.int64)
    said = np.stack([*identity.merged, identity.centroid])
    other = twin(np.concatenate([faces.rows[asked], faces.rows[theirs], said]),
                 np.concatenate([faces.photo[asked], faces.photo[theirs], -1 - np.arange(len(said))]), rules)
    other = other != other[-1]
    own = other[len(asked):-len(said)]
    both = other[-len(said):].any() or own.sum() > SHARE * len(own)
    return np.zeros(len(asked), bool) if both else other[:len(asked)]


def _first_of_photo(faces: Pool, free: np.ndarray, found: Match, certain: np.ndarray,
                    known: Sequence[Faceset], rules: Rules) -> np.ndarray:
    """(F,) bool: false where a nearer face of the same photo is, or is held as, the same identity."""
    first = np.ones(len(free), bool)
    for number, identity in enumerate(known):
        which = np.flatnonzero(certain & (found.nearest == number))
        held = {key.partition("@")[0] for key in identity.face_keys} if len(which) else set()
        moments = apart(faces.rows[free[which]], faces.photo[free[which]], rules)
        first[which] = groups.first_per_photo(moments, found.distance[which])
        first[[at for at in which if faces.photo_sha256[free[at]] in held]] = False
    return first


def _why(found: Match, known: Sequence[Faceset], at: int, torn: bool) -> str:
    nearest = known[found.nearest[at]].folder
    return (f"{nearest} or {known[found.second[at]].folder}" if torn else
            f"{nearest}, but another face of the same photo is nearer")


def _extend(faces: Pool, free: np.ndarray, found: Match, certain: np.ndarray,
            known: Sequence[Faceset]) -> dict[str, tuple[Face, ...]]:
    """Faces that belong to facesets that exist, nearest first."""
    extend: dict[str, tuple[Face, ...]] = {}
    for number, identity in enumerate(known):
        which = np.flatnonzero(certain & (found.nearest == number))
        near = sorted((groups.rounded(found.distance[at]), faces.keys[free[at]]) for at in which)
        if near:
            extend[identity.folder] = tuple(Face(key, distance) for distance, key in near)
    return extend


def _clusters(faces: Pool, rest: np.ndarray, rules: Rules, machines: Machines | None) -> list[np.ndarray]:
    """The faces `rest` by identity, each ascending."""
    labels = identities(faces.rows[rest], faces.photo[rest], faces.clarity[rest], rules, machines, faces.year[rest])
    return [rest[members] for members in members_of(labels)]


def _adopt(faces: Pool, clusters: Sequence[np.ndarray], known: Sequence[Faceset], rules: Rules,
           extend: dict[str, tuple[Face, ...]]) -> np.ndarray:
    """Add to `extend` the clusters that are somebody known, by their centroid though not face by face; these faces.

    A known person whose centroid rests on a few photos would get a second faceset otherwise.
    """
    adopted: list[int] = []
    large = [members for members in clusters if len(members) > rules.join_faces]
    if not large or not known:
        return np.array(adopted, np.int64)
    middles = np.stack([unit_mean(faces.rows[members]) for members in large])
    found = match(middles, _centroids(known, faces), _forbidden(faces, large, known))
    for at in np.flatnonzero(found.certain(rules.merge_distance, rules.known_margin)).tolist():
        identity = known[found.nearest[at]]
        more = extend.get(identity.folder, ())
        taken = {key.partition("@")[0] for key in (*identity.face_keys, *(face.face for face in more))}
        distance = 1 - faces.rows[large[at]] @ identity.centroid
        fits = groups.first_per_photo(faces.photo[large[at]], distance)
        fits &= np.array([faces.photo_sha256[face] not in taken for face in large[at]], bool)
        fits &= ~_twin_of(identity, faces, large[at], rules, {face.face for face in more})
        more += tuple(Face(faces.keys[face], groups.rounded(far), "its cluster is near")
                      for face, far in zip(large[at][fits], distance[fits], strict=True))
        if fits.any():
            extend[identity.folder] = more
            adopted += large[at][fits].tolist()
    return np.array(adopted, np.int64)


def _new_groups(faces: Pool, clusters: Sequence[np.ndarray], rules: Rules,
                seen: Collection[str]) -> tuple[tuple[Group, ...], tuple[Group, ...], tuple[Face, ...]]:
    """New facesets, thin ones, and faces of nobody in particular."""
    settled = []
    leftover: list[Face] = []
    for members in clusters:
        if len(members) < rules.min_thin:
            leftover += [Face(faces.keys[face], 0.0, f"seen {len(members)} times" if len(members) > 1 else "seen once")
                         for face in members]
        else:
            group, others = groups.settle(faces, members, rules)
            if not group.reason and all(face.face in seen for face in group.faces):
                group = replace(group, reason="an earlier run looked at all of its faces")
            settled += [group] if group.faces else []
            leftover += others
    settled.sort(key=lambda group: (-len(group.faces), min(face.face for face in group.faces)))
    return (tuple(group for group in settled if not group.reason), tuple(group for group in settled if group.reason),
            tuple(sorted(leftover, key=lambda face: face.face)))


def _counts(faces: int, held: int, extend: dict[str, tuple[Face, ...]], ambiguous: int, rejected: Iterable[Face],
            facesets: Sequence[Group], thin: Sequence[Group], leftover: Sequence[Face]) -> dict[str, int]:
    dropped = sum(len(known) for folder, known in extend.items() if folder.startswith("_dropped/"))
    known = sum(map(len, extend.values())) - dropped
    counts = {"faces": faces, "held": held, "known": known, "dropped": dropped, "ambiguous": ambiguous,
              "rejected": len(tuple(rejected)), "new": sum(len(group.faces) for group in facesets),
              "thin": sum(len(group.faces) for group in thin), "leftover": len(leftover)}
    assert sum(counts.values()) == 2 * faces, "a face is counted twice or not at all"
    return {**counts, "facesets": len(facesets), "thin_facesets": len(thin)}
