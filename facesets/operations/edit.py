"""What a person says about a faceset: its name, that a face is not in it, that it is not wanted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..common import files, terminal
from ..common.errors import UsageError
from ..export import draft as drafts
from ..export import swap
from ..export.draft import Options
from ..formats import cache
from ..formats.faceset import FACES, Contents
from ..formats.vectors import nearer
from ..library import folder as folders
from ..library.folder import Record
from ..library.members import pick
from ..library.run import Run
from ..library.store import ASIDE, Manifest

APART = 0.6     # of known_distance: a single picture that is nearer to the others may be an odd one of hers


def find(manifest: Manifest, text: str) -> Record:
    """The faceset that a person means by its folder, its number or its name. Raises UsageError for none or several."""
    found = matching(manifest, text)
    if len(found) != 1:
        raise UsageError(not_one(manifest, text, found))
    return found[0]


def matching(manifest: Manifest, text: str, lists: tuple[str, ...] = ("facesets",)) -> list[Record]:
    """Those that a person may mean by a folder, a number, a name or, where nobody has that, a proposed name."""
    entries = [entry for name in lists for entry in getattr(manifest, name)]
    wanted = text.strip().rstrip("/")
    found = [entry for entry in entries if entry.folder == wanted]
    found = found or [entry for entry in entries if Path(entry.folder).name == Path(wanted).name]
    if not found and wanted.isdecimal():
        found = [entry for entry in entries if entry.number == int(wanted)]
    found = found or [entry for entry in entries if wanted and wanted.casefold() == entry.name.casefold()]
    found = found or [entry for entry in entries if wanted and wanted.casefold() == entry.proposed_name.casefold()]
    return found


def not_one(manifest: Manifest, text: str, found: Sequence[Record]) -> str:
    if found:
        folders_found = ", ".join(entry.folder for entry in found[:5])
        return f"{len(found)} facesets are called {terminal.safe(text)!r}; give its folder: {folders_found}"
    known = [word for entry in manifest.facesets for word in (entry.folder, entry.name, entry.proposed_name)]
    return (f"no faceset is called {terminal.safe(text)!r}"
            + (terminal.did_you_mean(text, known) or "; give its folder, e.g. faceset_007"))


def eras_of(run: Run, entry: Record) -> list[Record]:
    """The era splits of a faceset, thin ones included."""
    manifest = run.manifest
    return [other for other in (*manifest.eras, *manifest.thin_eras) if entry.number and other.number == entry.number]


def name(run: Run, faceset: str, new: str) -> None:
    """Give a faceset a name; its era splits get it too."""
    clean = terminal.name(new)
    if not clean:
        raise UsageError("the name is empty")
    entry = find(run.manifest, faceset)
    for same in (entry, *eras_of(run, entry)):
        _write_name(run, same.folder, clean)
    run.count("named")


def _write_name(run: Run, folder: str, new: str) -> None:
    record = run.record(folder)
    folders.write_name(run.write(f"{folder}/{folders.NAME}"), new)
    record.name, record.files[folders.NAME] = new, files.sha256_of(run.current(f"{folder}/{folders.NAME}"))
    drafts.call(run, record)
    run.write_record(record)
    run.enter(record)


def drop(run: Run, faceset: str, reason: str = "dropped by hand") -> None:
    """Move a faceset and its era splits to _dropped/. Later runs know its faces and do not bring them back."""
    entry = find(run.manifest, faceset)
    for same in (entry, *eras_of(run, entry)):
        if not set_aside(run, same.folder, "dropped", reason):
            run.notes.append(f"{same.folder} was removed by hand; nobody knows its faces, so a later run may "
                                     "find the person again")
    run.count("dropped")


def set_aside(run: Run, folder: str, where: str, reason: str, into: str = "") -> str:
    """Move a folder as it is, a person's files included, into the quarantine of the list `where`; its new place.

    One that a person removed is only taken out of the manifest; "".
    """
    if not run.exists(folder):
        run.manifest.take_out(folder)
        run.touch(folder)
        return ""
    base = f"{ASIDE[where]}/{Path(folder).name}"
    target, number = base, 1
    while run.manifest.entry(target):       # an earlier era of these years lies there
        number += 1
        target = f"{base}_{number}"
    record = run.record(folder)
    run.move(folder, target)
    run.manifest.said_of(folder, target)
    run.touch(folder)
    run.manifest.take_out(folder)
    record.folder, record.reason, record.into = target, reason, into
    run.write_record(record)
    run.enter(record, where)
    return target


def not_this(run: Run, faceset: str, photos: Sequence[str], options: Options) -> None:
    """Say that the faces of `photos` are not the person of `faceset`: out they go, and no later run puts them back.

    A photo: the name of a picture (0003.png), a path, a file name, a SHA-256 or a face key. The key of a face that is
    in no faceset yet, because it is as near to somebody else, is remembered.
    """
    entry = find(run.manifest, faceset)
    take_out(run, entry, chosen(*drafts.existing(run, entry.folder), photos), options)


def take_out(run: Run, entry: Record, wrong: set[str], options: Options) -> None:
    """Say that faces, by their keys, are not the person of a faceset."""
    run.manifest.not_this[entry.folder] = sorted(wrong | set(run.manifest.not_this.get(entry.folder, ())))
    run.touch(entry.folder)
    run.count("faces_removed", len(wrong))
    for same in (*eras_of(run, entry), entry):
        _without(run, same, wrong, options)


def chosen(record: Record, contents: Contents, photos: Sequence[str]) -> set[str]:
    """Keys of the faces of a faceset that a person means; the key of a face that is not in it stands for itself.

    Faces without a picture, which nobody is shown, go along where they are nearer to those than to the ones that stay,
    but not with one picture that may be an odd one of hers: the faces that look like it would go with it.
    """
    pictures = {item["file"]: item["face"] for item in record.faces}
    keys: set[str] = set()
    for photo in photos:
        found = {pictures[photo]} if photo in pictures else {
            key for key, face in zip(contents.keys, contents.faces.faces, strict=True)
            if photo == key or photo in contents.faces.photos[face["photo"]].called}
        found = found or ({photo} if cache.FACE_KEY.fullmatch(photo) else set())
        if not found:
            raise UsageError(f"{record.folder} has no face of {terminal.safe(photo)}")
        keys |= found
    shown, rows = set(pictures.values()), contents.faces.embeddings
    meant = np.array([key in keys for key in contents.keys], bool)
    stay = np.array([key in shown and key not in keys for key in contents.keys], bool)
    apart = APART * contents.faces.model.known_distance if meant.sum() == 1 else 0.0
    along = nearer(rows, rows[meant], rows[stay], apart) & ~(meant | stay)
    return keys | {contents.keys[row] for row in np.flatnonzero(along)}


def _without(run: Run, entry: Record, wrong: set[str], options: Options) -> None:
    """Take faces out of a folder, which goes where none is left that has a picture."""
    record, contents = drafts.existing(run, entry.folder)
    rest = [row for row, key in enumerate(contents.keys) if key not in wrong]
    if len(rest) == len(contents.keys):
        return
    draft = drafts.plan(run, record, pick(contents.faces, rest), options)
    assert draft.selection
    if draft.selection.order:
        swap.finish(run, [draft], options)
    else:
        aside = set_aside(run, entry.folder, "dropped", "no face of it is left")
        run.remove(f"{aside}/{FACES}")    # those faces are somebody, and not dropped
