"""Pictures of one person as plain files in a folder with a name, for programs that only want to know who that is."""

import shutil
from pathlib import Path

import numpy as np

from ..common import terminal
from ..formats import cache
from ..library.folder import Record
from . import crop, outside, render
from .select import varied

TIGHT = 0.15            # of padding: Frigate's recogniser wants the face and little else
FRIGATE, ENOUGH = 30, 20    # crops of one person; Frigate's docs advise 20 to 30
BEST = 20               # pictures of one person as they are


def tight(record: Record, members: cache.Cache, folder: Path) -> list[str]:
    """For Frigate: 20 to 30 tight crops at their own resolution, whatever is best and varied."""
    photos, sizes = render.Photos(), {photo.sha256: (photo.width, photo.height) for photo in members.photos}
    with outside.updating(folder) as scratch:
        faces = [record.faces[place] for place in _chosen(record, FRIGATE)]
        for face in faces:
            if (photo := photos.read(face["photo"], sizes.get(face["sha256"], (0, 0)))) is not None:
                photo, (box,) = render.turned_right(photo, [face["box"]], face["turn"])
                x1, y1, x2, y2 = crop.around(box, photo.shape[1::-1], TIGHT)
                render.write_png(scratch / f"{face['sha256'][:12]}.png", photo[y1:y2, x1:x2])
        return _said(folder, len(list(scratch.iterdir())), ENOUGH) + photos.said()


def best(record: Record, place: Path, folder: Path) -> list[str]:
    """For programs and people: the best pictures of the faceset at `place` as they are, numbered."""
    with outside.updating(folder) as scratch:
        chosen = [place / face["file"] for face in record.faces[:BEST]]
        for number, picture in enumerate((picture for picture in chosen if picture.is_file()), 1):
            shutil.copyfile(picture, scratch / f"{number:02d}.png")
        return _said(folder, len(list(scratch.iterdir())), 1)


def _chosen(record: Record, count: int) -> list[int]:
    faces, unknown = record.faces, np.zeros(len(record.faces))
    return varied(np.array([face["quality"] for face in faces]), unknown, unknown,
                  np.array([face["light"] for face in faces]).reshape(-1, 2), count)


def _said(folder: Path, pictures: int, wanted: int) -> list[str]:
    return [f"{terminal.safe(folder)}: {pictures} pictures" + (f"; {wanted} are better" if pictures < wanted else "")]
