"""import-folders: carry out what hand-sorted folders say of who is who, as one run of the library.

A person sorted them, so they come before clustering: what a faceset holds of them leaves it, but what a person said
since stays.
"""

from dataclasses import asdict

from ..export import swap
from ..export.draft import Options
from ..formats import cache
from ..formats.faceset import Faceset
from ..formats.proposal import Group, Proposal, signed
from ..library.run import Run
from . import edit
from .hand_sorted import Imported, Person, apart, otherwise


def carry_out(run: Run, found: Imported, faces: cache.Cache, options: Options) -> None:
    """Make the facesets that the folders stand for, append to those that exist, and name them."""
    free = _leave(run, found, options)
    for person in found.people:
        if run.manifest.entry(person.faceset) is None and person.faceset:      # others have all that it held
            own = person.keys | {face.face for face in person.more}     # not what was only near to those who left it
            members = [face for face in found.extend.pop(person.faceset) if face.face in own]
            person.faceset = ""
            found.groups.append(Group(tuple(members), proposed_name=person.name, folder=person.name))
    made = Proposal(**signed("import-folders", "sort_faces.py import-folders"), model=asdict(faces.model),
                    caches=(), facesets=tuple(found.groups),
                    extend={folder: tuple(members) for folder, members in found.extend.items()})
    swap.carry_out(run, made, [faces], options, min_faces=1, free=free)
    names = {person.faceset: person.name for person in found.people}
    for entry in list(run.manifest.facesets):
        if entry.folder in names and not entry.name:
            edit.name(run, entry.folder, names[entry.folder])
    run.notes += found.notes
    run.count("bystanders", len(found.bystanders))


def _leave(run: Run, found: Imported, options: Options) -> set[str]:
    """Take faces out of the facesets that hold them, where a folder says that they are another person's; these."""
    free: set[str] = set()
    sorted_as = {person.faceset: person for person in found.people}
    for item in run.library.everybody():
        for person in found.people:
            holder = sorted_as.get(item.folder, item)
            theirs = person.keys & item.face_keys
            if isinstance(holder, Person):
                theirs -= holder.keys       # of two folders neither says that it is the other's
            if not theirs:
                continue
            stay, why = _stay(run, item, holder, person, theirs, found.same)
            if stay:
                run.notes.append(f"{len(stay)} faces of {person.name} stay in {item.folder}, {why}")
            if gone := theirs - stay:
                edit.let_go(run, edit.find(run.manifest, item.folder), set(gone), options)
                run.notes.append(f"{len(gone)} faces of {person.name} were in {item.folder}")
                free |= gone
    return free


def _stay(run: Run, item: Faceset, holder: Faceset | Person, person: Person, theirs: frozenset[str],
          same: float) -> tuple[frozenset[str], str]:
    """Which of the faces `theirs` of a folder's person stay in the faceset `item` all the same, and why.

    `holder` is who the faceset is: the person of a folder, which tells better than faces of two that lie in it now.
    """
    if run.manifest.list_of(item.folder) != "facesets":
        return theirs, "which was put aside"
    if otherwise(holder, person.name) and apart(holder, person) <= same:
        return theirs, f"since {holder.name} looks like the same person"
    seen, refused = (set(said.get(folder, ())) for said, folder in (
        (run.manifest.reviewed, item.folder), (run.manifest.not_this, person.faceset)))
    return frozenset(key for key in theirs if cache.short_key(key) in seen or key in refused), "as a person said"
