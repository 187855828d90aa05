"""A training folder for kohya's scripts, on request: wide cut-outs that show the person, not only the face.

    DIR/<faceset>/<repeats>_<faceset>/0001.png ...      as kohya reads it: repeats, underscore, the word of the concept
The folder is the operator's own, outside the library: it is written as a whole, and an existing one is left alone.
"""

import os
import shutil
from pathlib import Path

from ..common import files, terminal
from ..library import folder as folders
from ..library.store import Library
from .draft import Options
from .render import Made, Wish, render
from .swap import OpenDetector

SIZE = 768          # pixels at least, what SDXL's smallest bucket wants
PADDING = 1.2       # of the face box on every side: head and shoulders
REPEATS = 10


def write(library: Library, target: Path, open_detector: OpenDetector, options: Options) -> list[str]:
    """Write the training folder of every canonical faceset below `target`; one line of what happened for each."""
    wishes: dict[str, list[Wish]] = {}
    records = []
    for item in library.canonical():
        if (target / item.folder).exists():
            continue
        record = folders.read_record(item.path / folders.MANIFEST)
        records.append(record)
        for face in record.faces:
            if max(face["box"][2] - face["box"][0], face["box"][3] - face["box"][1]) * (1 + 2 * PADDING) >= SIZE:
                x1, y1, x2, y2 = face["box"]
                wishes.setdefault(face["photo"], []).append(Wish(face["face"], (x1, y1, x2, y2)))
    if not wishes:
        return [f"kohya: no face is large enough for {SIZE} pixels, or all folders are there already"]
    scratch = files.private_folder(target / ".pending")
    try:
        made = render(wishes, scratch / "pictures", open_detector(), SIZE, PADDING, options.export_workers)
        said = []
        for record in records:
            pictures = [found for face in record.faces if isinstance(found := made.get(face["face"]), Made)]
            if pictures:
                folder = scratch / record.folder / f"{REPEATS}_{record.folder}"
                files.private_folder(folder)
                for number, picture in enumerate(pictures, 1):
                    os.rename(picture.path, folder / f"{number:04d}.png")
                os.rename(scratch / record.folder, target / record.folder)
                said.append(f"kohya: {terminal.safe(target / record.folder)}: {len(pictures)} pictures")
        return said
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
