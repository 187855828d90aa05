"""split-eras: one person's faceset by time of life, as further folders beside it; the faceset itself stays whole.

Words: n faces with a year, D dimensions; an anchor is a year with the centroid of its faces.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..export import draft as drafts
from ..export import handwork, swap
from ..export.draft import Draft, Options
from ..formats.faceset import Contents
from ..formats.vectors import unit_mean
from ..library.folder import Record
from ..library.members import pick
from ..library.run import Run
from .edit import eras_of, find, unused_name


def split(embeddings: np.ndarray, years: np.ndarray, distance: float, apart: int) -> np.ndarray:
    """Era of each face, (n,) int64 from 0, oldest first; -1 for a face that is near to no anchor of its time.

    embeddings (n, D) unit rows, years (n,) int. Greedy: the year with most faces that are left is an anchor; it takes
    the faces within `apart` years and `distance` (cos-dist) of it. When no year is left, each remaining face joins the
    nearest anchor within the same bounds.
    """
    labels = np.full(len(years), -1, np.int64)
    anchors: list[tuple[int, np.ndarray]] = []
    tried: set[int] = set()
    while True:
        free = [int(year) for year in years[labels < 0] if int(year) not in tried]
        if not free:
            break
        anchor = max(sorted(set(free)), key=free.count)
        tried.add(anchor)
        centroid = unit_mean(embeddings[(years == anchor) & (labels < 0)])
        near = (labels < 0) & (np.abs(years - anchor) <= apart) & (1 - embeddings @ centroid <= distance)
        if near.any():
            labels[near] = len(anchors)
            anchors.append((anchor, unit_mean(embeddings[near])))
    for row in np.flatnonzero(labels < 0):
        options = [(float(1 - embeddings[row] @ centroid), number) for number, (year, centroid) in enumerate(anchors)
                   if abs(int(years[row]) - year) <= apart]
        if options and min(options)[0] <= distance:
            labels[row] = min(options)[1]
    order = sorted(range(len(anchors)), key=lambda number: (years[labels == number].min(), anchors[number][0]))
    rank = {number: place for place, number in enumerate(order)}
    return np.array([rank.get(int(label), -1) for label in labels], np.int64)


def split_eras(run: Run, faceset: str, options: Options, *, distance: float = 0.40,
               apart: int = 5, min_faces: int = 6) -> None:
    """Make `faceset_NNN_<first>_<last>` of every era of a faceset; thin ones go to _thin/.

    Earlier splits give way; what a person did in them holds: a picture that they deleted is in no era, and their own
    files stay where they are.
    """
    entry = find(run.manifest, faceset)
    record, contents = drafts.existing(run, entry.folder)
    years = np.array([contents.faces.photos[photo].year for photo in contents.faces.faces["photo"]])
    rows = np.flatnonzero((contents.rank > 0) & (years > 0))
    labels = split(contents.faces.embeddings[rows], years[rows], distance, apart)
    eras = [rows[labels == era] for era in range(labels.max(initial=-1) + 1)]
    run.count("without_date", int(((contents.rank > 0) & (years == 0)).sum()))
    run.count("near_no_era", int((labels < 0).sum()))
    earlier = [run.record(old.folder) if run.exists(old.folder) else old for old in eras_of(run, entry)]
    made: list[Draft] = []
    if len(eras) < 2:
        run.notes.append(f"{entry.folder}: one era only, so there is nothing to split")
    else:
        made = _drafts(run, record, contents, eras, years, earlier, options, min_faces)
    for old in earlier:
        if old.folder not in {draft.record.folder for draft in made}:
            _give_way(run, old)
    swap.finish(run, made, options)


def _drafts(run: Run, whole: Record, contents: Contents, eras: Sequence[np.ndarray], years: np.ndarray,
            earlier: Sequence[Record], options: Options, min_faces: int) -> list[Draft]:
    """A draft of each era, rows of `contents`; it takes the pictures that the faceset has."""
    have, refused, _ = handwork.as_it_lies(run, whole)
    for old in earlier:
        refused |= handwork.as_it_lies(run, old)[1]
    before, made, taken = {old.folder: old for old in earlier}, [], set[str]()
    for rows in eras:
        thin = len(rows) < min_faces
        # a person who changed much may have two eras of the same years, full or thin
        name = unused_name(f"{whole.folder}_{years[rows].min()}_{years[rows].max()}", taken)
        taken.add(name)
        folder = f"_thin/{name}" if thin else name
        record = replace(before.get(folder, Record(folder)), number=whole.number, name=whole.name,
                         proposed_name=whole.proposed_name, run=run.id, created=whole.created,
                         made_by="sort_faces.py split-eras",
                         reason=f"{len(rows)} faces, {min_faces} are needed" if thin else "")
        draft = drafts.plan(run, record, pick(contents.faces, rows), options, refused)
        draft.have = {**{key: have[key] for key in draft.keys if key in have}, **draft.have}
        made.append(draft)
    return made


def _give_way(run: Run, old: Record) -> None:
    """An earlier era goes; a folder with what a person put into it, or changed in it, stays."""
    built = run.fresh()
    handwork.own_files(run.current(old.folder), old, built, handwork.as_it_lies(run, old)[0].values())
    if any(built.iterdir()):
        run.put(built, old.folder)
        run.notes.append(f"{old.folder} is no era any more; what you put there stays")
    else:
        run.remove(old.folder)
    run.manifest.take_out(old.folder)
    run.touch(old.folder)
