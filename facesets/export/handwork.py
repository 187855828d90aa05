"""What a person did in the folder of a faceset, and how it goes on with the folder when that is made anew."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..common import files
from ..library import folder as folders
from ..library.folder import Record
from ..library.run import Run

BY_HAND = "its picture was deleted by hand"
CHANGED = "changed by hand"         # how such a picture shows its face alone
TOP = "top8"                        # the pictures of _top8.fsz as plain files, for tools and people
Picture = tuple[Path, dict[str, Any]]     # a picture that there is, and what the manifest says of it
Pictures = dict[str, Picture]             # by the key of its face


def as_it_lies(run: Run, record: Record) -> tuple[Pictures, dict[str, str], list[str]]:
    """The pictures of a faceset, marked where a person changed them; faces whose picture they deleted; notes of it."""
    have, notes = {}, []
    gone = {item["face"]: BY_HAND for item in record.left_out if item["reason"] == BY_HAND}
    for item in record.faces:
        name = f"{record.folder}/{item['file']}"
        place = run.current(name)
        if not place.is_file():
            gone[item["face"]] = BY_HAND
            notes.append(f"{name} was deleted by hand, so it stays away")
        else:
            changed = files.sha256_of(place) != record.files.get(item["file"])
            have[item["face"]] = (place, {**item, "isolation": CHANGED} if changed else item)
            if changed:
                notes.append(f"{name} was changed by hand, so it is kept as it is")
    return have, gone, notes


def own_files(folder: Path, record: Record, built: Path, dropped: Iterable[Picture]) -> None:
    """What a person put into the folder goes on with it; of ours what they wrote into the name, what they changed in
    top8, and those of the pictures that are `dropped` which they changed."""
    ours = {folders.MANIFEST, TOP, *record.files}
    name = folder / folders.NAME
    if name.is_file() and files.sha256_of(name) != record.files.get(folders.NAME):
        ours.discard(folders.NAME)
    for item in folder.iterdir() if folder.is_dir() else ():
        if item.name not in ours:
            files.link_all(item, built / item.name)
    for item in (folder / TOP).iterdir() if (folder / TOP).is_dir() else ():
        if item.name not in record.top or not _ours(item, record.files.get(item.name), folder / item.name):
            files.link_all(item, files.private_folder(built / TOP) / item.name)
    for place, entry in dropped:
        if entry["isolation"] == CHANGED and place.parent == folder:
            files.link(place, built / place.name)


def _ours(item: Path, digest: str | None, picture: Path) -> bool:
    """Whether a file of top8 is still what we put there: another name of the picture, or its copy."""
    return (picture.is_file() and item.samefile(picture)) or (item.is_file() and files.sha256_of(item) == digest)
