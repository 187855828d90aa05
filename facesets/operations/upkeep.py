"""Looking at existing facesets again: refine, dedup, enrich. Numbers and names stay; pictures only change places."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..cluster.groups import names_of, proposed_name
from ..export import draft as drafts
from ..export import swap
from ..export.draft import Draft, Options
from ..formats import cache, quality
from ..formats.faceset import FACES
from ..library import folder as folders
from ..library.folder import Record
from ..library.members import Index, pick
from ..library.run import Run
from .edit import find


def chosen(run: Run, facesets: Sequence[str]) -> list[Record]:
    """The canonical facesets that are meant; all of them where none is named."""
    return [find(run.manifest, text) for text in facesets] or [
        entry for entry in run.manifest.facesets if run.exists(f"{entry.folder}/{FACES}")]


def refine(run: Run, facesets: Sequence[str], options: Options) -> None:
    """Choose the faces of existing facesets anew: outliers and near-duplicates out, others in, best first.

    Takes up what a person did by hand (a deleted picture).
    """
    made = []
    for entry in chosen(run, facesets):
        record, contents = drafts.existing(run, entry.folder)
        draft = drafts.plan(run, record, contents.faces, options, renew=True)
        if _differs(draft, options) or draft.notes:
            made.append(draft)
    run.count("unchanged", len(chosen(run, facesets)) - len(made))
    swap.finish(run, made, options)


def _differs(draft: Draft, options: Options) -> bool:
    """Whether the faceset would have other pictures, or in another order."""
    if draft.anew or any(draft.keys[row] not in draft.have for row in draft.selection.order):
        return True
    drafts.choose(draft, options)
    before = [item["face"] for item in sorted(draft.record.faces, key=lambda item: int(item["rank"]))]
    return before != [draft.keys[row] for row in draft.pictured]


def dedup(run: Run, facesets: Sequence[str], options: Options) -> None:
    """Each face in one faceset only, the nearest, and each moment once: near-duplicates keep their best picture."""
    owner: dict[str, tuple[float, str]] = {}
    for entry in chosen(run, ()):
        contents = drafts.existing(run, entry.folder)[1]
        apart = 1 - contents.faces.embeddings @ contents.centroid
        for key, distance in zip(contents.keys, apart, strict=True):
            owner[key] = min(owner.get(key, (np.inf, "")), (float(distance), entry.folder))
    made = []
    for folder in [entry.folder for entry in chosen(run, facesets)]:
        record, contents = drafts.existing(run, folder)
        rows = [row for row, key in enumerate(contents.keys) if owner[key][1] == folder]
        run.count("double_faces", len(contents.keys) - len(rows))
        draft = drafts.plan(run, record, pick(contents.faces, rows), options)
        lost = {item["face"] for item in record.faces} - {draft.keys[row] for row in draft.selection.order}
        if (lost or len(rows) < len(contents.keys)) and draft.selection.order:
            run.count("pictures_removed", len(lost))
            made.append(draft)
    swap.finish(run, made, options)


def enrich(run: Run, facesets: Sequence[str], caches: Sequence[cache.Cache], options: Options) -> None:
    """Give facesets what the caches know by now: dates, assets, users, Immich's names, the present quality formula.

    Files of the swap tools that are missing are written again.
    """
    index = Index(caches) if caches else None
    made = []
    for entry in chosen(run, facesets):
        record, contents = drafts.existing(run, entry.folder)
        fresh = contents.faces if index is None else _known_by_now(contents.faces, index)
        fresh.faces["quality"] = quality.score(fresh.faces)
        names = names_of(fresh.persons)
        draft = drafts.plan(run, replace(
            record, names=names or record.names,
            proposed_name=proposed_name(names, len(fresh.faces)) or record.proposed_name), fresh, options)
        missing = [name for name in record.files if name != folders.NAME    # a name that was deleted is no name
                   and not run.exists(f"{entry.folder}/{name}")]
        before = contents.faces
        if (missing or names != record.names or _differs(draft, options) or fresh.photos != before.photos
                or not np.array_equal(fresh.faces["quality"], before.faces["quality"])):
            made.append(draft)
    run.count("unchanged", len(chosen(run, facesets)) - len(made))
    swap.finish(run, made, options)


def _known_by_now(faces: cache.Cache, index: Index) -> cache.Cache:
    """The same faces, with photos and persons as the caches have them."""
    rows = {key: row for row, key in enumerate(cache.face_keys(faces)) if key in index}
    if not rows:
        return faces
    newer = index.pick(rows)
    photos, persons = list(faces.photos), list(faces.persons)
    for place, row in enumerate(rows.values()):
        number = faces.faces["photo"][row]
        other = newer.photos[newer.faces["photo"][place]]
        photos[number] = replace(photos[number], path=other.path or photos[number].path,
                                 taken_at=other.taken_at or photos[number].taken_at,
                                 asset_id=other.asset_id or photos[number].asset_id,
                                 user=other.user or photos[number].user)
        if newer.persons[place].id:
            persons[row] = newer.persons[place]
    return cache.Cache(faces.model, photos, faces.faces.copy(), faces.embeddings, faces.norms, persons,
                       faces.path_aliases)
