"""What a person says after looking: a name, this is she, these are somebody else, two people, not wanted, all right."""

from collections.abc import Container, Iterable, Sequence
from itertools import chain, count
from pathlib import Path

import numpy as np

from ..common import files, terminal
from ..common.errors import UsageError
from ..export import draft as drafts
from ..export import handwork, swap
from ..export.draft import Options
from ..formats import cache
from ..formats.faceset import FACES, Contents
from ..formats.proposal import Proposal
from ..formats.vectors import nearer
from ..library import folder as folders
from ..library.folder import Record
from ..library.members import Index, pick, without_twins
from ..library.run import Run
from ..library.store import ASIDE, NOBODY, Manifest

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
        record, path = run.record(same.folder), f"{same.folder}/{folders.NAME}"
        folders.write_name(run.write(path), clean)
        record.name, record.files[folders.NAME] = clean, files.sha256_of(run.current(path))
        drafts.call(run, record)
        run.write_record(record)
        run.enter(record)
    run.count("named")


def drop(run: Run, faceset: str, reason: str = "dropped by hand") -> None:
    """Move a faceset and its era splits to _dropped/. Later runs know its faces and do not bring them back."""
    entry = find(run.manifest, faceset)
    for same in (entry, *eras_of(run, entry)):
        if not set_aside(run, same.folder, "dropped", reason):
            run.notes.append(f"{same.folder} was removed by hand; nobody knows its faces, so a later run may "
                                     "find the person again")
    run.count("dropped")


def unused_name(name: str, taken: Container[str]) -> str:
    """`name`, or the first of `name`_2, `name`_3 ... that is not taken."""
    return next(one for one in chain([name], (f"{name}_{number}" for number in count(2))) if one not in taken)


def set_aside(run: Run, folder: str, where: str, reason: str, into: str = "") -> str:
    """Move a folder as it is, a person's files included, into the quarantine of the list `where`; its new place.

    One that a person removed is only taken out of the manifest; "".
    """
    if not run.exists(folder):
        run.manifest.take_out(folder)
        run.touch(folder)
        return ""
    there = {entry.folder for entry in run.manifest.entries}       # perhaps an earlier era of these years
    target = unused_name(f"{ASIDE[where]}/{Path(folder).name}", there)
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
    let_go(run, entry, wrong, options)


def let_go(run: Run, entry: Record, wrong: set[str], options: Options) -> None:
    """Take faces out of a faceset and its era splits, without a word of whose they are."""
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
    if draft.selection.order:
        swap.finish(run, [draft], options)
    else:
        aside = set_aside(run, entry.folder, "dropped", "no face of it is left")
        run.remove(f"{aside}/{FACES}")    # those faces are somebody, and not dropped


def two_people(run: Run, one: str, other: str) -> None:
    """Say that two facesets are two people: nothing merges them, nobody asks again."""
    pair = sorted(find(run.manifest, text).folder for text in (one, other))
    if pair[0] == pair[1]:
        raise UsageError(f"{pair[0]} is one faceset; name two")
    _apart(run, pair)


def _apart(run: Run, pair: list[str]) -> None:
    if pair not in run.manifest.two_people:
        run.manifest.two_people = sorted([*run.manifest.two_people, pair])
        run.count("two_people")
        for folder in pair:
            run.touch(folder)


def reviewed(run: Run, faceset: str, shown: Iterable[str] | None = None) -> None:
    """Say that the pictures of a faceset are one person; only what comes to it later is asked again.

    What was said before of faces without a picture holds while they are there.
    shown: keys of the faces that were looked at, where these are not all by now
    """
    entry = find(run.manifest, faceset)
    seen = {item["face"] for item in run.record(entry.folder).faces}
    if shown is None:
        held = set(map(cache.short_key, drafts.existing(run, entry.folder)[1].keys))
        run.manifest.reviewed[entry.folder] = list(held.intersection(run.manifest.reviewed.get(entry.folder, ())))
    _saw(run, entry.folder, seen if shown is None else seen.intersection(shown))
    run.count("reviewed")


def left(run: Run, keys: Sequence[str]) -> None:
    """Say that faces of no faceset are to stay so; nobody asks about them again."""
    _saw(run, NOBODY, keys)
    run.count("left", len(keys))


def _saw(run: Run, folder: str, keys: Iterable[str]) -> None:
    run.manifest.reviewed[folder] = sorted({*run.manifest.reviewed.get(folder, ()), *map(cache.short_key, keys)})
    run.touch(folder)


def this_is(run: Run, faceset: str, photos: Sequence[str], index: Index, options: Options) -> None:
    """Put faces of the caches into a faceset; they leave another one that has them.

    A photo: a face key, or the path, file name, SHA-256 or asset id of a photo with one face.
    """
    entry = find(run.manifest, faceset)
    members = index.pick(meant(index, photos))
    keys = set(cache.face_keys(members))
    settled = run.library.settled()
    for other in [item.folder for item in run.manifest.facesets if item.folder != entry.folder]:
        if theirs := {key for key in keys if settled.get(key) == other}:
            take_out(run, find(run.manifest, other), theirs, options)
    run.manifest.are_of(entry.folder, keys)
    record, contents = drafts.existing(run, entry.folder)
    grown = drafts.plan(run, record, without_twins(contents.faces, members), options)
    swap.finish(run, [grown], options, index=index)
    _saw(run, entry.folder, keys)
    run.count("faces_added", len(keys))


def split(run: Run, faceset: str, photos: Sequence[str], options: Options) -> None:
    """Make a faceset of its own, with the next number, of some faces of a faceset; the two are two people from now on.

    A photo: what `not_this` takes.
    """
    entry = find(run.manifest, faceset)
    record, contents = drafts.existing(run, entry.folder)
    theirs = chosen(record, contents, photos)
    if unknown := theirs.difference(contents.keys):
        raise UsageError(f"{entry.folder} has no face {terminal.safe(min(unknown))}")
    if len(theirs) == len(contents.keys):
        raise UsageError(f"these are all faces of {entry.folder}; leave one, or give it another name")
    have = handwork.as_it_lies(run, record)[0]
    rows = [row for row, key in enumerate(contents.keys) if key in theirs]
    made = _found(run, Record("", created=record.created), pick(contents.faces, rows),
                  {key: picture for key, picture in have.items() if key in theirs}, options)
    take_out(run, entry, theirs, options)
    if not run.manifest.entry(entry.folder):
        raise UsageError(f"no picture of {entry.folder} would be left; give it another name instead")
    _apart(run, sorted((entry.folder, made.folder)))


def promote_thin(run: Run, thin: str, proposals: Iterable[Proposal], index: Index, options: Options) -> None:
    """Make a thin group a faceset: a folder of _thin/, or a group that clustering left as thin, by one of its faces."""
    found = matching(run.manifest, thin, ("thin_eras",))
    if found and found[0].number:
        raise UsageError(f"{found[0].folder} is a time of life of faceset {found[0].number}, and no other person")
    if found:
        record, contents = drafts.existing(run, found[0].folder)
        _found(run, record, contents.faces, handwork.as_it_lies(run, record)[0], options, index)
        run.remove(record.folder)
        run.manifest.take_out(record.folder)
        return
    groups = [[item.face for item in group.faces] for made in proposals for group in made.thin]
    keys = next((keys for keys in groups if thin in keys), None)
    if not keys:
        raise UsageError(f"there is no thin group {terminal.safe(thin)}; give a folder of _thin/ or one of its faces")
    promote(run, keys, index, options)


def promote(run: Run, keys: Sequence[str], index: Index, options: Options) -> None:
    """Make a faceset, with the next number, of faces of the caches that have none."""
    settled = run.library.settled()
    free = [key for key in keys if key not in settled]
    if not free:
        raise UsageError("all of these faces have a faceset by now")
    _found(run, Record(""), index.pick(free), {}, options, index)


def _found(run: Run, like: Record, members: cache.Cache, have: handwork.Pictures, options: Options,
           index: Index | None = None) -> Record:
    """A faceset of its own with the next number, called as `like` is; UsageError if no picture of it can be made."""
    number = run.new_number()
    record = Record(f"faceset_{number:03d}", number, like.name, like.proposed_name, run.id, names=like.names,
                    created=like.created, made_by=f"sort_faces.py {run.verb}")
    draft = drafts.plan(run, record, members, options)
    draft.have = have
    swap.finish(run, [draft], options, index=index)
    if record.folder not in run.facesets:
        raise UsageError(f"none of these {len(members.faces)} faces can be shown alone, so there would be no picture")
    return record


def meant(index: Index, photos: Sequence[str]) -> list[str]:
    """Keys of the faces in caches that a person means; UsageError where that is nobody, or several."""
    found = []
    for text in photos:
        keys = [text] if text in index else index.faces_of(text)
        if len(keys) != 1:
            which = ": " + ", ".join(keys[:4]) if keys else ""
            raise UsageError(f"{len(keys) or 'no'} faces of {terminal.safe(text)} are in the caches"
                             + (f"; give the key of one{which}" if keys else ""))
        found += keys
    return list(dict.fromkeys(found))
