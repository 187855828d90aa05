"""What a person says after looking: two people, this is she, these are somebody else, a person after all, all right.

`edit` has what is said of one faceset alone; here are verdicts that concern faces outside it, or another faceset.
"""

from collections.abc import Iterable, Sequence

from ..common import terminal
from ..common.errors import UsageError
from ..export import draft as drafts
from ..export import handwork, swap
from ..export.draft import Options
from ..formats import cache
from ..formats.cache import short_key
from ..formats.proposal import Proposal
from ..library.folder import Record
from ..library.members import Index, pick, without_twins
from ..library.run import Run
from ..library.store import NOBODY
from . import edit


def two_people(run: Run, one: str, other: str) -> None:
    """Say that two facesets are two people: nothing merges them, nobody asks again."""
    pair = sorted(edit.find(run.manifest, text).folder for text in (one, other))
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

    shown: keys of the faces that were looked at, where these are not all by now
    """
    entry = edit.find(run.manifest, faceset)
    record = run.record(entry.folder)
    pictured = {item["face"] for item in record.faces}
    seen = pictured if shown is None else pictured.intersection(shown)
    before = run.manifest.reviewed.get(entry.folder, ()) if shown is not None else ()
    run.manifest.reviewed[entry.folder] = sorted({*before, *map(short_key, seen)})
    run.touch(entry.folder)
    run.count("reviewed")


def left(run: Run, keys: Sequence[str]) -> None:
    """Say that faces of no faceset are to stay so; nobody asks about them again."""
    run.manifest.reviewed[NOBODY] = sorted({*run.manifest.reviewed.get(NOBODY, ()), *map(short_key, keys)})
    run.touch(NOBODY)
    run.count("left", len(keys))


def this_is(run: Run, faceset: str, photos: Sequence[str], index: Index, options: Options) -> None:
    """Put faces of the caches into a faceset; they leave another one that has them.

    A photo: a face key, or the path, file name, SHA-256 or asset id of a photo with one face.
    """
    entry = edit.find(run.manifest, faceset)
    members = index.pick(meant(index, photos))
    keys = set(cache.face_keys(members))
    settled = run.library.settled()
    for other in [item.folder for item in run.manifest.facesets if item.folder != entry.folder]:
        if theirs := {key for key in keys if settled.get(key) == other}:
            edit.take_out(run, edit.find(run.manifest, other), theirs, options)
    if refused := set(run.manifest.not_this.pop(entry.folder, ())) - keys:
        run.manifest.not_this[entry.folder] = sorted(refused)
    record, contents = drafts.existing(run, entry.folder)
    grown = drafts.plan(run, record, without_twins(contents.faces, members), options)
    swap.finish(run, [grown], options, index=index)
    said = {*run.manifest.reviewed.get(entry.folder, ()), *map(short_key, keys)}
    run.manifest.reviewed[entry.folder] = sorted(said)
    run.count("faces_added", len(keys))


def split(run: Run, faceset: str, photos: Sequence[str], options: Options) -> None:
    """Make a faceset of its own, with the next number, of some faces of a faceset; the two are two people from now on.

    A photo: what `not_this` takes.
    """
    entry = edit.find(run.manifest, faceset)
    record, contents = drafts.existing(run, entry.folder)
    chosen = edit.chosen(record, contents, photos)
    if unknown := chosen.difference(contents.keys):
        raise UsageError(f"{entry.folder} has no face {terminal.safe(min(unknown))}")
    if len(chosen) == len(contents.keys):
        raise UsageError(f"these are all faces of {entry.folder}; leave one, or give it another name")
    have = handwork.as_it_lies(run, record)[0]
    rows = [row for row, key in enumerate(contents.keys) if key in chosen]
    made = _found(run, Record("", created=record.created), pick(contents.faces, rows),
                  {key: picture for key, picture in have.items() if key in chosen}, options)
    edit.take_out(run, entry, chosen, options)
    if not run.manifest.entry(entry.folder):
        raise UsageError(f"no picture of {entry.folder} would be left; give it another name instead")
    _apart(run, sorted((entry.folder, made.folder)))


def promote_thin(run: Run, thin: str, proposals: Iterable[Proposal], index: Index, options: Options) -> None:
    """Make a thin group a faceset: a folder of _thin/, or a group that clustering left as thin, by one of its faces."""
    found = edit.matching(run.manifest, thin, ("thin_eras",))
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
