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
    photos, rows = render.Photos(), {key: row for row, key in enumerate(cache.face_keys(members))}
    with outside.updating(folder) as scratch:
        for face in chosen(record, folder):
            if (photo := photos.read(members, rows[face["face"]])) is not None:
                photo, (box,) = render.turned_right(photo, [face["box"]], face["turn"])
                x1, y1, x2, y2 = crop.around(box, photo.shape[1::-1], TIGHT)
                render.write_png(scratch / f"{outside.called(face)}.png", photo[y1:y2, x1:x2])
    return _said(folder, ENOUGH) + photos.said()


def chosen(record: Record, folder: Path) -> list[dict[str, Any]]:
    """Those of the faces whose crops Frigate gets."""
    faces = _wanted(record, folder)
    unknown = np.zeros(len(faces))
    return [faces[place] for place in varied(
        np.array([face["quality"] for face in faces]), unknown, unknown,
        np.array([face["light"] for face in faces]).reshape(-1, 2), FRIGATE)]


def best(record: Record, place: Path, folder: Path) -> list[str]:
    """For programs and people: the best pictures of the faceset at `place` as they are."""
    with outside.updating(folder) as scratch:
        for face in [face for face in _wanted(record, folder) if (place / face["file"]).is_file()][:BEST]:
            files.write_bytes(scratch / f"{outside.called(face)}.png", (place / face["file"]).read_bytes())
    return _said(folder, 1)


def _wanted(record: Record, folder: Path) -> list[dict[str, Any]]:
    """The faces with a picture, best first, but for those of which a person deleted it in `folder`."""
    _, gone = outside.handwork(folder)
    return [face for face in record.faces if outside.called(face) not in gone]


def _said(folder: Path, wanted: int) -> list[str]:
    ours, theirs, lines = outside.lying(folder, ".png")
    pictures = ours + theirs
    return [f"{terminal.safe(folder)}: {terminal.many(pictures, 'picture')}"
            + (f"; {wanted} are better" if pictures < wanted else ""), *lines]
