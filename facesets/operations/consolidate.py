"""consolidate: facesets that are one person, by complete linkage of centroids; proposed first, done when asked."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..export import draft as drafts
from ..export import handwork, swap
from ..export.draft import Options
from ..formats import cache
from ..formats.faceset import Faceset
from ..library.members import without_twins
from ..library.run import Run
from ..library.store import Library, Manifest
from .edit import eras_of, find, name, set_aside

SHARED_PHOTOS = 0.1     # share of the smaller one's photos that show both: two people who are often together


@dataclass(frozen=True)
class Pairing:
    """Facesets that may be one person, the one that would take the others in first."""

    facesets: tuple[str, ...]
    names: tuple[str, ...]
    distance: float         # largest cos-dist between two of their centroids
    against: str = ""       # why they are not merged all the same


def propose(library: Library, distance: float) -> list[Pairing]:
    """Groups of canonical facesets whose centroids are all within `distance` of each other, the closest first."""
    sets = library.canonical()
    if len(sets) < 2:
        return []
    centroids = np.array([item.centroid for item in sets])
    groups = complete_linkage(1 - centroids @ centroids.T, distance)
    manifest = library.manifest()
    found = [_pairing([sets[index] for index in group], centroids[group], manifest) for group in groups]
    return sorted(found, key=lambda pairing: (bool(pairing.against), pairing.distance))


def complete_linkage(apart: np.ndarray, distance: float) -> list[list[int]]:
    """Groups of two and more whose members are all within `distance`; apart (P, P) cos-dist, the closest join first."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    square = np.maximum((apart + apart.T) / 2, 0)
    np.fill_diagonal(square, 0)
    labels = fcluster(linkage(squareform(square, checks=False), "complete"), distance, "distance")
    return [found.tolist() for label in np.unique(labels) if len(found := np.flatnonzero(labels == label)) > 1]


def _pairing(group: list[Faceset], centroids: np.ndarray, manifest: Manifest) -> Pairing:
    """The named one comes first, else the lowest number."""
    order = sorted(group, key=lambda item: (not item.name, item.number))
    names = sorted({item.name for item in group if item.name})
    against = f"two names: {', '.join(names)}" if len(names) > 1 else ""
    photos = {item.folder: {key.partition("@")[0] for key in item.face_keys} for item in group}
    for a, b in combinations(group, 2):
        if manifest.are_two(a.folder, b.folder):
            against = against or f"{a.folder} and {b.folder} were said to be two people"
        both = len(photos[a.folder] & photos[b.folder])
        if both > SHARED_PHOTOS * min(len(photos[a.folder]), len(photos[b.folder])):
            against = against or f"{both} photos show both {a.folder} and {b.folder}"
    return Pairing(tuple(item.folder for item in order), tuple(names),
                   round(float((1 - centroids @ centroids.T).max()), 4), against)


def merge(run: Run, into: str, others: list[str], options: Options) -> None:
    """Put the faces of `others` into the faceset `into`; their folders go to _merged/ as they are."""
    target = find(run.manifest, into)
    named = [entry.name for entry in (find(run.manifest, text) for text in others) if entry.name]
    if named and not target.name:
        name(run, target.folder, named[0])
    record, contents = drafts.existing(run, target.folder)
    members = contents.faces
    borrowed: handwork.Pictures = {}
    deleted: dict[str, str] = {}        # faces whose pictures a person deleted: they do not come back here
    for text in others:
        entry = find(run.manifest, text)
        if entry.folder == target.folder:
            continue
        faces = drafts.existing(run, entry.folder)[1]
        apart = float(1 - faces.centroid @ contents.centroid)
        if apart > contents.faces.model.known_distance:
            run.notes.append(f"{entry.folder} is {apart:.2f} from {target.folder}: hardly the same person; "
                                     "`sort_faces.py undo` takes it back")
        members = without_twins(members, faces.faces)
        aside, *_ = [set_aside(run, folder.folder, "merged", f"merged into {target.folder}", target.folder)
                     for folder in (entry, *eras_of(run, entry))]
        run.manifest.said_of(aside, target.folder)
        have, gone, _ = handwork.as_it_lies(run, run.record(aside))
        borrowed |= have
        deleted |= {key: why for key, why in gone.items() if key not in contents.keys}
    run.manifest.are_of(target.folder, set(cache.face_keys(members)))     # also who was split from it before
    draft = drafts.plan(run, record, members, options, deleted)
    draft.have = {**borrowed, **draft.have}
    swap.finish(run, [draft], options)
    run.count("merged", len(others))


def text(found: list[Pairing]) -> list[str]:
    """The proposal as a person reads it."""
    lines = [f"{' + '.join(pairing.facesets)}: distance {pairing.distance:.2f}"
             + (f"; not merged: {pairing.against}" if pairing.against else "") for pairing in found]
    return [*lines, "merge what has no objection: sort_faces.py consolidate --apply"] if lines else [
        "no two facesets look like one person"]
