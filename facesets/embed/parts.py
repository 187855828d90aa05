"""Finished photos on the way to the cache: small parts beside it, folded in at the end.

`immich_peter.npz.parts/000001.npz`, … are caches of their own, each written whole, so saving costs the same at photo
100 and at photo 100,000, and a kill costs what was not yet in a part. The folder goes once its photos are in the cache.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..common import files
from ..formats import boxes, cache
from ..formats import queue as queues
from ..formats.cache import Cache, Model, Person

OVERLAP = 0.35      # intersection over union from which Immich's box and ours are one face; both come from SCRFD models


class Parts:
    """The parts of the cache `out`, which need not exist yet."""

    def __init__(self, out: Path) -> None:
        self.out, self.folder = out, out.with_name(out.name + ".parts")
        self.paths = sorted(self.folder.glob("*.npz"))

    @property
    def written(self) -> list[Path]:
        """The cache, if there is one yet, and the parts."""
        return [path for path in (self.out, *self.paths) if path.exists()]

    def processed(self) -> frozenset[str]:
        """SHA-256 of every photo in the cache and the parts."""
        return frozenset[str]().union(*map(cache.processed, self.written))

    def errors(self) -> frozenset[str]:
        """SHA-256 of every photo whose last outcome is an error."""
        last = {str(sha256): status for path in self.written
                for sha256, status in cache.columns(path, "sha256", "status")}
        return frozenset(sha256 for sha256, status in last.items() if status == "error")

    def add(self, part: Cache) -> None:
        number = int(self.paths[-1].stem) + 1 if self.paths else 1
        path = self.folder / f"{number:06d}.npz"
        cache.write(path, part)
        self.paths.append(path)

    def fold(self, queue: queues.Queue, model: Model) -> Cache:
        """Write the cache of all parts and what was in it before, and drop the parts; what is in it now.

        Photos come in the order of the queue, after those that are in no queue any more, so a run that was killed gives
        the same file as one that was not. What the queue says about a photo and its faces holds from now on.
        """
        whole = combined([Cache(model), *map(cache.read, self.written)], [entry.sha256 for entry in queue.entries])
        whole.queue = queues.digest(queue)
        renew_photos(whole, queue)
        if queue.user:
            name_persons(whole, {entry.sha256: entry.faces for entry in queue.entries})
        cache.write(self.out, whole)
        self.drop()
        return whole

    def drop(self) -> None:
        for path in self.paths:         # the oldest first: what a kill leaves is no older than the cache
            path.unlink()
        if self.folder.exists():
            shutil.rmtree(self.folder)
            files.sync_folder(self.folder.parent)
        self.paths = []


def combined(caches: Sequence[Cache], order: Sequence[str] = ()) -> Cache:
    """One cache of several of the same model; of a photo that is in more than one, the last counts.

    Photos whose SHA-256 is in `order` come last and in that order, the others before them as they were.
    """
    model = caches[0].model
    for part in caches:
        cache.same_model(part.model, model, "merging caches")
    photos = [photo for part in caches for photo in part.photos]
    starts = np.cumsum([0] + [len(part.photos) for part in caches])
    last = {photo.sha256: index for index, photo in enumerate(photos)}
    place = {sha256: index for index, sha256 in enumerate(order)}
    chosen = sorted(last.values(), key=lambda index: (place.get(photos[index].sha256, -1), index))
    rank = np.full(len(photos), -1)
    rank[chosen] = np.arange(len(chosen))
    faces = np.concatenate([part.faces for part in caches])
    new = rank[np.concatenate([part.faces["photo"] + start for part, start in zip(caches, starts, strict=False)])]
    faces["photo"] = new
    rows = np.argsort(new, kind="stable")[np.count_nonzero(new < 0):]
    persons = [person for part in caches for person in part.persons]
    return Cache(model, [photos[index] for index in chosen], faces[rows],
                 np.concatenate([part.embeddings for part in caches])[rows],
                 np.concatenate([part.norms for part in caches])[rows], [persons[row] for row in rows],
                 {path: sha256 for part in caches for path, sha256 in part.path_aliases.items()})


def renew_photos(whole: Cache, queue: queues.Queue) -> None:
    """Take path, date, asset and source of each photo from the queue; where it lay before is an alias if it still does.

    What an own folder does not know, the asset and its user, stays as it was.
    """
    entries = {entry.sha256: entry for entry in queue.entries}
    for place, photo in enumerate(whole.photos):
        entry = entries.get(photo.sha256)
        if entry:
            whole.photos[place] = replace(photo, path=entry.path, source=entry.source,
                                          taken_at=entry.taken_at or photo.taken_at,
                                          asset_id=entry.asset_id or photo.asset_id, user=queue.user or photo.user)
            if photo.path != entry.path and os.path.exists(photo.path):
                whole.path_aliases[photo.path] = photo.sha256
    whole.path_aliases.update({alias.path: entry.sha256 for entry in queue.entries for alias in entry.aliases})
    whole.path_aliases.update({known.path: known.sha256 for known in queue.known})
    for photo in whole.photos:
        whole.path_aliases.pop(photo.path, None)


def name_persons(whole: Cache, shown: Mapping[str, Sequence[queues.ImmichFace]]) -> None:
    """Give every face of the photos in `shown`, by SHA-256, the person whose box in Immich it overlaps most; one face a
    person's box, one box a face.
    """
    rows = cache.rows_of(whole)
    for sha256, found in shown.items():
        ours = rows.get(sha256, [])
        if not ours:
            continue
        photo = whole.photos[whole.faces["photo"][ours[0]]]
        for row in ours:
            whole.persons[row] = Person()
        theirs = np.array([face.box for face in found]).reshape(-1, 4)
        theirs = theirs * (photo.width, photo.height, photo.width, photo.height)
        for place, face in boxes.pairs(whole.faces["box"][ours], theirs, OVERLAP):
            whole.persons[ours[place]] = Person(found[face].person_id, found[face].person_name)
