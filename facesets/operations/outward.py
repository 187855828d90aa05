"""export-training: what a person takes out of the library for other programs, in folders of the operator's own."""

from collections.abc import Sequence
from pathlib import Path

from ..export import outside, people, training
from ..formats.faceset import FACES, read_faces
from ..library.folder import MANIFEST, read_record
from ..library.store import Library
from . import edit


def export(library: Library, facesets: Sequence[str], target: Path, purpose: str, boxes: training.Boxes,
           caption: str = training.CAPTION, kind: str = "person") -> list[str]:
    """One folder below `target` for each faceset, all of them where none is named. Returns lines of what was made."""
    manifest = library.manifest()
    chosen = [edit.find(manifest, text) for text in facesets] or manifest.facesets
    called, said = outside.names(chosen), []
    for line in chosen:
        place, folder = library.root / line.folder, target / called[line.folder]
        record = read_record(place / MANIFEST)
        record.name = line.name
        if purpose == "frigate":
            said += people.tight(record, folder)
        elif purpose == "folders":
            said += people.best(record, place, folder)
        else:
            members = read_faces(place / FACES).faces
            said += training.write(record, members, folder, boxes, purpose, caption, kind)
    return said or ["there is no faceset yet"]
