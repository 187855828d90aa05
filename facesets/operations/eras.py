"""split-eras: one person's faceset by time of life, as further folders beside it; the faceset itself stays whole.

Words: n faces with a year, D dimensions; an anchor is a year with the centroid of its faces.
"""

import numpy as np

from ..export import draft as drafts
from ..export import swap
from ..export.draft import Draft, Options
from ..export.swap import OpenDetector
from ..formats.cache import unit_mean
from ..formats.faceset import Contents
from ..library.folder import Record
from ..library.members import pick
from ..library.run import Run
from .edit import find


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


def split_eras(run: Run, faceset: str, options: Options, open_detector: OpenDetector, *, distance: float = 0.40,
               apart: int = 5, min_faces: int = 6) -> None:
    """Make `faceset_NNN_<first>_<last>` of every era of a faceset; thin ones go to _thin/. Earlier splits give way."""
    entry = find(run.manifest, faceset)
    record, contents = drafts.existing(run, entry.folder)
    years = np.array([_year(contents.faces.photos[photo].taken_at) for photo in contents.faces.faces["photo"]])
    rows = np.flatnonzero((contents.rank > 0) & (years > 0))
    labels = split(contents.faces.embeddings[rows], years[rows], distance, apart)
    count = len(set(labels[labels >= 0].tolist()))
    run.count("without_date", int(((contents.rank > 0) & (years == 0)).sum()))
    run.count("near_no_era", int((labels < 0).sum()))
    for old in [*run.manifest.eras, *run.manifest.thin_eras]:
        if old.number == entry.number:
            run.remove(old.folder)
            run.manifest.take_out(old.folder)
            run.touch(old.folder)
    if count < 2:
        run.notes.append(f"{entry.folder}: one era only, so there is nothing to split")
        return
    made = [_era(run, record, contents, rows[labels == era], years[rows[labels == era]], options, min_faces)
            for era in range(count)]
    swap.finish(run, made, open_detector, options)


def _era(run: Run, whole: Record, contents: Contents, rows: np.ndarray, years: np.ndarray, options: Options,
         min_faces: int) -> Draft:
    """The draft of one era; it takes the pictures that the faceset has."""
    base = f"{whole.folder}_{years.min()}_{years.max()}"
    thin = len(rows) < min_faces
    record = Record(f"_thin/{base}" if thin else base, whole.number, whole.name, whole.proposed_name,
                    run=run.id, created=whole.created, made_by="sort_faces.py split-eras",
                    reason=f"{len(rows)} faces, {min_faces} are needed" if thin else "")
    draft = drafts.plan(run, record, pick(contents.faces, rows), options)
    keys = set(draft.keys)
    draft.have = {item["face"]: (run.current(f"{whole.folder}/{item['file']}"), item)
                  for item in whole.faces if item["face"] in keys}
    return draft


def _year(taken_at: str) -> int:
    return int(taken_at[:4]) if taken_at[:4].isdecimal() else 0
