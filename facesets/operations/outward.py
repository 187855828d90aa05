"""export-training: what a person takes out of the library for other programs, in folders of the operator's own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..export import outside, people, render, training
from ..formats.faceset import FACES, read_faces
from ..library.folder import MANIFEST, Record, read_record
from ..library.store import Library
from . import edit


def export(library: Library, facesets: Sequence[str], target: Path, purpose: str, boxes: training.Boxes,
           caption: str = training.CAPTION, kind: str = "person") -> list[str]:
    """One folder below `target` for each faceset, all of them where none is named. Returns lines of what was made."""
    with library.locked("sort_faces.py export-training"):
        manifest = library.manifest()
        chosen = [edit.find(manifest, text) for text in facesets] or manifest.facesets
        records = {line.folder: replace(read_record(library.root / line.folder / MANIFEST), name=line.name)
                   for line in chosen}
        if purpose != "folders":        # else a share that is not mounted would empty what was made before
            render.pause_where_away(sorted({face["photo"] for record in records.values() for face in record.faces}))
        called = outside.names(manifest.facesets)
        with outside.alone(library.root, target, {target / called[name]: name for name in records}):
            folders, said = outside.settle(library.root, target, called)
            outside.remember(library.root, {folders[name]: name for name in records})
            for name, record in records.items():
                said += outside.without_strangers(folders[name], record)
                said += _one(library.root / name, record, folders[name], purpose, boxes, caption, kind)
    return said or ["there is no faceset yet"]


def _one(place: Path, record: Record, folder: Path, purpose: str, boxes: training.Boxes, caption: str,
         kind: str) -> list[str]:
    if purpose == "folders":
        return people.best(record, place, folder)
    members = read_faces(place / FACES).faces
    if purpose == "frigate":
        return people.tight(record, members, folder)
    return training.write(record, members, folder, boxes, purpose, caption, kind)
