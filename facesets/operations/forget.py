"""forget: every trace of a person, in the library, the caches, the proposals and the report; and what was removed.

Nothing that could be undone is left: the runs that can be taken back go too, since they hold her pictures. The photos
themselves are not touched, neither on the server nor in the staging folder; the summary says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..common.errors import Failure
from ..export.run import changing
from ..formats import cache, proposal
from ..formats.proposal import Face, Group, Proposal
from ..library import folder as folders
from ..library import journal
from ..library.store import LISTS, Entry, Library
from .edit import find

REPORT = ("index.html", "_report", "decisions.json")     # what `report` writes at the top of the library


@dataclass
class Forgotten:
    folders: list[str] = field(default_factory=list)
    faces: dict[str, int] = field(default_factory=dict)         # cache -> faces removed from it
    proposals: dict[str, int] = field(default_factory=dict)     # refine.json -> faces removed from it
    runs: int = 0                                               # that could have been taken back
    report: bool = False
    dry_run: bool = False


def forget(library: Library, person: str, caches: Sequence[Path], proposals: Sequence[Path], distance: float | None,
           dry_run: bool) -> Forgotten:
    """Remove the person of the faceset `person`: its folders, its faces in `caches` and `proposals`, the report.

    A face is hers if a folder of hers holds it, or if it lies within `distance` of the centroid (None: the model's) and
    in no other faceset. The library goes last, so that a kill leaves it there, and the same command goes on.
    """
    manifest = library.manifest()
    entry = find(manifest, person, LISTS)
    hers = [other for name in LISTS for other in getattr(manifest, name)
            if other.folder == entry.folder or (entry.number and other.number == entry.number)
            or (other.into and other.into == entry.folder)]
    keys, centroids = _faces_of(library, hers)
    if not keys:
        raise Failure(f"{entry.folder}: its folder is gone, so nobody can tell which faces are hers; "
                      "remove it from the caches by embedding them again")
    others = {key for key, folder in library.settled().items() if folder not in {item.folder for item in hers}}
    done = Forgotten(folders=[item.folder for item in hers], dry_run=dry_run,
                     runs=len(journal.history(library.root)),
                     report=any((library.root / name).exists() for name in REPORT))
    for path in caches:
        gone = _from_cache(path, keys, others, centroids, distance, dry_run)
        if gone:
            done.faces[str(path)] = len(gone)
            keys |= gone
    for path in proposals:
        count = _from_proposal(path, keys, dry_run)
        if count:
            done.proposals[str(path)] = count
    if not dry_run:
        _from_library(library, hers, keys)
    return done


def _faces_of(library: Library, entries: Iterable[Entry]) -> tuple[set[str], list[np.ndarray]]:
    keys: set[str] = set()
    centroids = []
    for entry in entries:
        place = library.root / entry.folder / folders.FACES
        if place.exists():
            contents = folders.read_faces(place)
            keys |= set(contents.keys)
            centroids.append(contents.centroid)
    return keys, centroids


def _from_cache(path: Path, keys: set[str], others: set[str], centroids: Sequence[np.ndarray], distance: float | None,
                dry_run: bool) -> set[str]:
    """Keys of the faces that are removed from the cache; its photos stay, so that none is embedded again."""
    whole = cache.read(path)
    if any(len(centroid) != whole.model.dimension for centroid in centroids):
        return set()        # of another recogniser: its faces cannot be compared, and none of the keys is in it
    limit = whole.model.known_distance if distance is None else distance
    near = (1 - whole.embeddings @ np.array(centroids).T).min(axis=1) <= limit
    all_keys = cache.face_keys(whole)
    gone = np.array([key in keys or (bool(near[row]) and key not in others) for row, key in enumerate(all_keys)], bool)
    if gone.any() and not dry_run:
        rows = np.flatnonzero(~gone)
        left = set(whole.faces["photo"][rows].tolist())
        photos = [replace(photo, status="noface") if photo.status == "faces" and number not in left else photo
                  for number, photo in enumerate(whole.photos)]
        cache.write(path, cache.Cache(whole.model, photos, whole.faces[rows], whole.embeddings[rows], whole.norms[rows],
                                      [whole.persons[row] for row in rows], whole.path_aliases))
    return {key for key, out in zip(all_keys, gone, strict=True) if out}


def _from_proposal(path: Path, keys: set[str], dry_run: bool) -> int:
    made = proposal.read(path)
    gone = 0

    def without(faces: Iterable[Face]) -> tuple[Face, ...]:
        nonlocal gone
        faces = tuple(faces)
        rest = tuple(face for face in faces if face.face not in keys)
        gone += len(faces) - len(rest)
        return rest

    def groups(items: Iterable[Group]) -> tuple[Group, ...]:
        return tuple(replace(group, faces=rest) for group in items if (rest := without(group.faces)))

    clean: Proposal = replace(
        made, facesets=groups(made.facesets), thin=groups(made.thin), ambiguous=without(made.ambiguous),
        rejected=without(made.rejected), leftover=without(made.leftover),
        extend={folder: rest for folder, faces in made.extend.items() if (rest := without(faces))})
    if gone and not dry_run:
        proposal.write(path, clean)
    return gone


def _from_library(library: Library, hers: Sequence[Entry], keys: set[str]) -> None:
    """Take the folders out in one change, and with them everything that could bring them back."""
    with changing(library, "forget") as run:
        manifest = run.session.manifest
        for entry in hers:
            run.session.change.remove(entry.folder)
            manifest.take_out(entry.folder)
            manifest.not_this.pop(entry.folder, None)
            run.touch(entry.folder)
        for folder, refused in manifest.not_this.items():
            manifest.not_this[folder] = [key for key in refused if key not in keys]
        manifest.forgotten += 1
        for name in REPORT:
            run.session.change.remove(name)
        run.session.change.final = True



def text(done: Forgotten) -> list[str]:
    """What is gone, or would go, as a person reads it."""
    lines = [f"folders: {', '.join(done.folders)}"]
    lines += [f"{path}: {count:,} faces" for path, count in (*done.faces.items(), *done.proposals.items())]
    lines += ["the report (make it again: sort_faces.py report)"] if done.report else []
    lines += [f"{done.runs} runs that could have been taken back"] if done.runs else []
    head = "this would go for good; do it with --yes:" if done.dry_run else "gone for good:"
    return [head, *(f"  {line}" for line in lines),
            "not touched: the photos themselves, in the staging folder and on the server"]
