"""Pictures of one person as plain files in a folder with a name, for programs that only want to know who that is."""

from pathlib import Path
from typing import Any

import numpy as np

from ..common import files, terminal
from ..formats import cache
from ..library.folder import Record
from . import crop, outside, render
from .select import varied

TIGHT = 0.15            # of padding: Frigate's recogniser wants the face and little else
FRIGATE, ENOUGH = 30, 20    # crops of one person; Frigate's docs advise 20 to 30
BEST = 20               # pictures of one person as they are


def tight(record: Record, members: cache.Cache, folder: Path) -> list[str]:
    """For Frigate: 20 to 30 tight crops at their own resolution, whatever is best and varied."""
    changed, rows = list[str](), {key: row for row, key in enumerate(cache.face_keys(members))}
    with outside.updating(folder) as scratch, terminal.progress(FRIGATE, folder.name, "crops") as bar:
        for face in in_order(record, folder):
            if bar.steps < FRIGATE and (photo := render.read(members, rows[face["face"]], changed)) is not None:
                photo, (box,) = render.turned_right(photo, [face["box"]], face["turn"])
                x1, y1, x2, y2 = crop.around(box, photo.shape[1::-1], TIGHT)
                render.write_png(scratch / f"{outside.called(face)}.png", photo[y1:y2, x1:x2])
                bar.update(1)
    return _said(folder, ENOUGH) + render.changed(changed)


def in_order(record: Record, folder: Path) -> list[dict[str, Any]]:
    """The faces as Frigate gets them, the best and most varied first."""
    faces = _wanted(record, folder)
    unknown = np.zeros(len(faces))
    return [faces[place] for place in varied(
        np.array([face["quality"] for face in faces]), unknown, unknown,
        np.array([face["light"] for face in faces]).reshape(-1, 2), len(faces))]


def best(record: Record, place: Path, folder: Path) -> list[str]:
    """For programs and people: the best pictures of the faceset at `place` as they are, by their rank; one that is
    there keeps its number."""
    there = {outside.photo_of(stem): stem for stem in outside.handwork(folder)[0]}
    with outside.updating(folder) as scratch:
        for face in [face for face in _wanted(record, folder) if (place / face["file"]).is_file()][:BEST]:
            stem = there.get(outside.called(face), f"{face['rank']:02d}-{outside.called(face)}")
            files.write_bytes(scratch / f"{stem}.png", (place / face["file"]).read_bytes())
    return _said(folder, 1)


def _wanted(record: Record, folder: Path) -> list[dict[str, Any]]:
    """The faces with a picture, best first, but for those of which a person deleted it in `folder`."""
    gone = {outside.photo_of(stem) for stem in outside.handwork(folder)[1]}
    return [face for face in record.faces if outside.called(face) not in gone]


def _said(folder: Path, wanted: int) -> list[str]:
    ours, theirs, lines = outside.lying(folder, ".png")
    pictures = ours + theirs
    return [f"{terminal.safe(folder)}: {terminal.many(pictures, 'picture')}"
            + (f"; {wanted} are better" if pictures < wanted else ""), *lines]
