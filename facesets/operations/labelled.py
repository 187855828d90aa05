"""Hand-sorted folders, one a person: identities for import-folders, a model's distances for calibrate.

A person sorted them, so they come before clustering, and what a faceset holds of them leaves it, but what a person said
since stays. A folder's own person is in most of its photos; of several, who is nobody elsewhere, or alone in photos.
Bystanders go in two passes, around a rough centroid and around the one that is left. A folder that does not tell whose
it is is mixed: each of its faces goes to the identity it is near to, be it another folder or a faceset.
Words: n faces of one folder, N of all, D dimensions, P identities; `cos-dist` = 1 - cosine similarity.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..cluster.calibrate import Calibration, calibrate
from ..cluster.groups import first_per_photo
from ..cluster.known import match
from ..cluster.linkage import average_linkage
from ..cluster.pool import clarity_of
from ..common.errors import Failure
from ..export import swap
from ..export.draft import Options
from ..formats import cache
from ..formats.faceset import Faceset
from ..formats.proposal import Face, Group, Proposal, signed
from ..formats.queue import Queue
from ..formats.vectors import unit_mean
from ..library.run import Run
from . import edit

MAJORITY = 0.5      # share of a folder's photos that its person must be in; else the folder is mixed
ONCE = 0.2          # share of its photos in which somebody may be alone by chance, the other face not found
SAME = 0.5          # of `fine`: centroids so near are one person's, while siblings are farther


@dataclass
class _Sorted:
    """Whose a folder is, and what that person's faceset is called now."""

    name: str
    keys: set[str]
    centroid: np.ndarray
    faceset: str        # "" for a new one
    stays: bool         # what facesets hold of it: one is called otherwise, or another folder may be the same person


@dataclass
class Imported:
    """What the folders say."""

    groups: list[Group] = field(default_factory=list)               # new identities, one per folder
    extend: dict[str, list[Face]] = field(default_factory=dict)     # faces of facesets that exist
    names: dict[str, str] = field(default_factory=dict)             # what the folders call these
    bystanders: list[Face] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    people: list[_Sorted] = field(default_factory=list)
    same: float = 0.0       # cos-dist of centroids that are one person's
    notes: list[str] = field(default_factory=list)


@dataclass
class _Folder:
    name: str
    rows: np.ndarray        # of the cache
    person: np.ndarray      # those of its person
    centroid: np.ndarray | None = None


def propose(faces: cache.Cache, queue: Queue, root: Path, known: Sequence[Faceset], rough: float,
            fine: float) -> Imported:
    """Who is in the folders right below `root`. `rough` and `fine` are the cos-dists of the two passes.

    `queue` lists what lies in the folders now; the cache may know the same photos by older paths.
    """
    found = Imported(same=SAME * fine)
    by_folder = _by_folder(faces, queue, root)
    if not by_folder:
        raise Failure(f"there is no folder with photos in {root}; one for each person is wanted, so name the folder "
                      "that they lie in")
    found.notes = [f"{name}: no face was found in its photos" for name, rows in by_folder.items() if not len(rows)]
    meant = _meant({name: rows for name, rows in by_folder.items() if len(rows)}, faces, known, rough, fine, found)
    folders = _each_once([_person_of(name, by_folder[name], person, faces, rough, fine)
                          for name, person in meant.items()], found)
    people = [folder for folder in folders if folder.centroid is not None]
    found.mixed = sorted(folder.name for folder in folders if folder.centroid is None)
    keys = cache.face_keys(faces)
    targets, elsewhere = _targets(people, known, fine, found)
    held = {folder.name: [Face(keys[row], round(float(1 - faces.embeddings[row] @ folder.centroid), 4))
                          for row in folder.person] for folder in people}
    loose = [(folder, row) for folder in folders for row in np.setdiff1d(folder.rows, folder.person)]
    _route(faces, keys, loose, people, known, fine, held, found)
    for folder in people:
        members = sorted(held[folder.name], key=lambda face: (face.distance, face.face))
        target = targets.get(folder.name)
        assert folder.centroid is not None
        found.people.append(_Sorted(
            folder.name, {keys[row] for row in folder.person}, folder.centroid, target.folder if target else "",
            folder.name in elsewhere or _one_of_two(folder, people, SAME * fine)))
        if target:
            found.extend.setdefault(target.folder, []).extend(members)
            found.names[target.folder] = folder.name
        else:
            found.groups.append(Group(tuple(members), proposed_name=folder.name, folder=str(root / folder.name)))
    return found


def carry_out(run: Run, found: Imported, faces: cache.Cache, options: Options) -> None:
    """Make the facesets that the folders stand for, append to those that exist, and name them."""
    made = Proposal(**signed("import-folders", "sort_faces.py import-folders"), model=asdict(faces.model),
                    caches=(), facesets=tuple(found.groups),
                    extend={folder: tuple(members) for folder, members in found.extend.items()})
    swap.carry_out(run, made, [faces], options, min_faces=1, free=_leave(run, found, options))
    if not run.dry_run:
        for folder, name in found.names.items():
            entry = edit.find(run.manifest, folder)
            if not entry.name:
                edit.name(run, folder, name)
    run.notes += [*found.notes, *(f"{name} is mixed: its faces went to whom they are near to" for name in found.mixed)]
    run.count("bystanders", len(found.bystanders))


def _leave(run: Run, found: Imported, options: Options) -> set[str]:
    """Take faces out of the facesets that hold them, where a folder says that they are another person's."""
    free: set[str] = set()
    for item in run.library.everybody():
        seen = set(run.manifest.reviewed.get(item.folder, ()))
        for one in found.people:
            theirs = one.keys.intersection(item.face_keys)
            if not theirs or item.folder == one.faceset:
                continue
            hers = item.name and item.name.casefold() != one.name.casefold() and (
                1 - item.centroid @ one.centroid <= found.same)     # one person under two names
            said = {key for key in theirs if hers or cache.short_key(key) in seen}
            said |= theirs.intersection(run.manifest.not_this.get(one.faceset, ()))
            aside = run.manifest.entry(item.folder) not in run.manifest.facesets
            if stay := theirs if aside else said:
                why = "which was put aside" if aside else "as a person said"
                run.notes.append(f"{len(stay)} faces of {one.name} stay in {item.folder}, {why}")
            if not aside and not one.stays and (gone := theirs - said):
                edit.take_out(run, edit.find(run.manifest, item.folder), gone, options)
                run.notes.append(f"{len(gone)} faces of {one.name} were in {item.folder}")
                free |= gone
    return free


def _by_folder(faces: cache.Cache, queue: Queue, root: Path) -> dict[str, np.ndarray]:
    """Name of each folder right below `root` -> rows of the faces of its photos, whatever path brought them first."""
    names: dict[str, set[str]] = {}     # SHA-256 -> the folders that it lies in
    for entry in queue.entries:
        for path in (entry.path, *(alias.path for alias in entry.aliases)):
            place = Path(path).relative_to(root).parts
            names.setdefault(entry.sha256, set()).update(place[:1] if len(place) > 1 else ())
    of_photo, rows = cache.rows_of(faces), dict[str, list[int]]()
    for sha256, places in names.items():
        for name in places:
            rows.setdefault(name, []).extend(of_photo.get(sha256, ()))
    return {name: np.array(sorted(found), np.int64) for name, found in sorted(rows.items())}


def _meant(by_folder: Mapping[str, np.ndarray], faces: cache.Cache, known: Sequence[Faceset], rough: float,
           fine: float, found: Imported) -> dict[str, np.ndarray]:
    """Folder -> where in its rows its person's faces are; none where it does not tell whose it is."""
    asked = {name: _frequent(rows, faces, rough) for name, rows in by_folder.items()}
    middles = {name: [unit_mean(faces.embeddings[by_folder[name][person]]) for person, _ in groups]
               for name, groups in asked.items()}
    sure = {name: middles[name][0] for name, groups in asked.items() if groups and groups[0][1] > MAJORITY}
    meant = {}
    for name, groups in asked.items():
        others = [middle for other, middle in sure.items() if other != name]
        left = groups
        if len(groups) > 1 and name not in sure:
            others += [item.centroid for item in known if item.name and item.name.casefold() != name.casefold()]
            left = [groups[at] for at in _nobody_elsewhere(middles[name], others, fine)]
        elif groups and name not in sure and any(1 - middles[name][0] @ other <= found.same for other in others):
            left = []
        if len(left) > 1 and (name in sure or left[0][1] > max(ONCE, 2 * left[1][1])):
            left = left[:1]
        if groups and len(left) != 1:
            found.notes.append(f"{name} does not say whose it is: {len(groups)} are in most of its photos, and "
                               + ("nobody is alone in enough of them" if left else "another folder's"))
        meant[name] = left[0][0] if len(left) == 1 else np.zeros(0, np.int64)
    return meant


def _nobody_elsewhere(middles: Sequence[np.ndarray], others: Sequence[np.ndarray], fine: float) -> list[int]:
    """Who of a folder, by their centroids, is none of `others`, each of whom is one of them at most."""
    if not others:
        return list(range(len(middles)))
    distance = 1 - np.array(middles) @ np.array(others).T       # (people, P)
    theirs = distance.argmin(axis=0)[distance.min(axis=0) <= fine]
    return [at for at in range(len(middles)) if at not in theirs]


def _frequent(rows: np.ndarray, faces: cache.Cache, rough: float) -> list[tuple[np.ndarray, float]]:
    """Who is in most photos of a folder: places in `rows`, and the share of photos where nobody else is; the most often
    alone first, then the most faces."""
    photos = faces.faces["photo"][rows]
    labels = average_linkage(faces.embeddings[rows], rough)
    single, count = np.bincount(photos)[photos] == 1, len(set(photos.tolist()))
    groups = [np.flatnonzero(labels == label) for label in np.argsort(-np.bincount(labels), kind="stable")]
    found = [(group, float(single[group].sum()) / count) for group in groups
             if len(set(photos[group].tolist())) > MAJORITY * count]
    return sorted(found, key=lambda one: -one[1])


def _person_of(name: str, rows: np.ndarray, person: np.ndarray, faces: cache.Cache, rough: float,
               fine: float) -> _Folder:
    vectors, photos = faces.embeddings[rows], faces.faces["photo"][rows]
    if not len(person):
        return _Folder(name, rows, person)
    for limit in (rough, fine):
        distance = 1 - vectors @ unit_mean(vectors[person])
        near = np.flatnonzero(distance <= limit)
        near = near[first_per_photo(photos[near], distance[near])]      # of two in a photo the other is somebody else
        person = near if len(near) else person
    return _Folder(name, rows, rows[person], unit_mean(vectors[person]))


def _each_once(folders: Sequence[_Folder], found: Imported) -> list[_Folder]:
    """The folders without those whose person has all its faces in an earlier folder too: one person has one name."""
    first: dict[int, str] = {}      # row -> the first folder that has it as its person
    kept = []
    for folder in folders:
        whose = Counter(first.setdefault(row, folder.name) for row in folder.person.tolist())
        if folder.name in whose or not whose:
            kept.append(folder)
        else:
            name = whose.most_common(1)[0][0]
            found.notes.append(f"{folder.name} holds only faces that {name} holds too, so it is left out")
    return kept


def _targets(people: Sequence[_Folder], known: Sequence[Faceset], fine: float,
             found: Imported) -> tuple[dict[str, Faceset], set[str]]:
    """Folder -> the faceset that exists and is its person; of two folders, which are two people, the nearer one's.
    And the folders whose person may have another name already."""
    claims = []
    for folder in people:
        assert folder.centroid is not None
        near = [(float(1 - item.centroid @ folder.centroid), item) for item in known]
        near = [(apart, item) for apart, item in near if apart <= fine]
        same = [(apart, item) for apart, item in near if item.name.casefold() == folder.name.casefold()]
        if near:
            apart, item = min(same or near, key=lambda claim: claim[0])
            claims.append((bool(item.name) and not same, apart, folder.name, item))
    targets: dict[str, Faceset] = {}
    for other_name, apart, name, item in sorted(claims, key=lambda claim: claim[:3]):
        if other_name or item.folder in {target.folder for target in targets.values()}:
            whose = (f"is called {item.name}; if it is the same person: sort_faces.py name {item.folder} {name!r}"
                     if other_name else "is another folder's")
            found.notes.append(f"{name} looks like {item.folder} ({apart:.2f}), which {whose}")
        else:
            targets[name] = item
    return targets, {name for other_name, _, name, _ in claims if other_name}


def _one_of_two(folder: _Folder, people: Sequence[_Folder], near: float) -> bool:
    return any(1 - folder.centroid @ other.centroid <= near for other in people
               if other is not folder and folder.centroid is not None and other.centroid is not None)


def _route(faces: cache.Cache, keys: list[str], loose: list[tuple[_Folder, int]], people: list[_Folder],
           known: Sequence[Faceset], fine: float, held: dict[str, list[Face]], found: Imported) -> None:
    """Faces of mixed folders go to the nearest identity within `fine`; bystanders go to nobody."""
    centroids = [folder.centroid for folder in people] + [item.centroid for item in known]
    taken = {face.face for members in held.values() for face in members}
    rows = np.array([row for _, row in loose], np.int64)
    nearest = match(faces.embeddings[rows], np.array(centroids, np.float32).reshape(-1, faces.model.dimension))
    for place, (folder, row) in enumerate(loose):
        key, distance, who = keys[row], float(nearest.distance[place]), int(nearest.nearest[place])
        if key in taken:
            continue
        if who < 0 or distance > fine or folder.centroid is not None:
            found.bystanders.append(Face(key, round(min(distance, 2.0), 4), f"a bystander in {folder.name}"))
            continue
        taken.add(key)
        face = Face(key, round(distance, 4))
        if who < len(people):
            held[people[who].name].append(face)
        else:
            found.extend.setdefault(known[who - len(people)].folder, []).append(face)


def people_of(faces: cache.Cache, root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N,) of the faces below `root`, and whose they are (N,): the folder's if a photo shows one face, else -1.

    Who is who in a photo of several people, the folder does not say.
    """
    photos = {number: Path(photo.path).relative_to(root).parts[0] for number, photo in enumerate(faces.photos)
              if Path(photo.path).is_relative_to(root) and len(Path(photo.path).relative_to(root).parts) > 1}
    rows = np.array([row for row, number in enumerate(faces.faces["photo"].tolist()) if number in photos], np.int64)
    number = {name: place for place, name in enumerate(sorted(set(photos.values())))}
    of_photo = faces.faces["photo"][rows]
    alone = np.bincount(of_photo, minlength=len(faces.photos))[of_photo] == 1
    people = np.array([number[photos[photo]] for photo in of_photo.tolist()], np.int64)
    return rows, np.where(alone, people, -1)


def distances(faces: cache.Cache, root: Path, most: tuple[float, float]) -> Calibration:
    """The distances that the labelled folder `root` supports, no looser than `most` if these are too few to tell.

    Raises Failure where it holds fewer people than say anything at all."""
    rows, people = people_of(faces, root)
    try:
        return calibrate(faces.embeddings[rows], people, faces.faces["photo"][rows], clarity_of(faces.norms)[rows],
                         most=most)
    except ValueError as error:
        raise Failure(f"{root}: {error}; put each person's photos into a folder of their own") from None


def setting(found: Calibration, model: cache.Model) -> str:
    """The entry of MODELS in facesets/formats/distances.py that records what was found."""
    return (f'"{model.sha256}": Thresholds({found.known_distance:g}, {found.cluster_distance:g}, "calibrated with '
            f'{model.name}"),')
