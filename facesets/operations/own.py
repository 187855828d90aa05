"""A folder of the operator's own as a queue: what `embed DIR` hands to the same pipeline as Immich's photos."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ..common import files, terminal
from ..common.errors import UsageError
from ..embed import decode
from ..export.outside import LISTED
from ..formats.faceset import FACES
from ..formats.queue import Alias, Entry, Queue

# What decode can read; other files are not photos and are not even listed.
PHOTOS = frozenset({".jpg", ".jpeg", ".jpe", ".mpo", ".png", ".gif", ".webp", ".heic", ".heif", ".hif", ".avif", ".tif",
                    ".tiff", ".bmp", ".jp2"})
OURS = (LISTED, FACES)      # in a folder of our own pictures: an export's, a faceset's
EXIF_IFD, TAKEN, DIGITISED, CHANGED = 0x8769, 36867, 36868, 306     # DateTimeOriginal, DateTimeDigitized, DateTime
DATE = re.compile(r"(\d{4})[:-](\d\d?)[:-](\d\d?)(?: (\d\d:\d\d:\d\d)$)?", re.ASCII)


def queue(folders: Iterable[Path]) -> Queue:
    """Every photo below `folders`, each SHA-256 once, other copies as aliases; not in hidden and @eaDir
    folders, nor where we wrote pictures ourselves."""
    entries: dict[str, Entry] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{terminal.safe(folder)} is no folder")
        for path in photos_in(folder.absolute()):
            try:
                sha256, size = files.sha256_of(path), path.stat().st_size
            except OSError as error:
                _not_read(error)
                continue
            if (known := entries.get(sha256)) and known.path != str(path):
                entries[sha256] = replace(known, aliases=(*known.aliases, Alias("", str(path))))
            else:
                entries[sha256] = Entry("", str(path), "", sha256, size, taken_at=taken_at(path))
    return Queue("", "", tuple(entries.values()))


def photos_in(folder: Path) -> Iterator[Path]:
    """Photos below `folder`, in the order of their names; a folder that cannot be read is told."""
    for place, folders, names in os.walk(folder, onerror=_not_read):
        if ours := sum(_is_ours(place, name) for name in folders):
            terminal.say(f"{terminal.safe(place)}: {terminal.many(ours, 'folder')} of pictures that we wrote, "
                         "not looked at")
        folders[:] = sorted(name for name in folders if _may_hold_photos(place, name))
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in PHOTOS and not name.startswith("."):
                yield Path(place, name)


def folders_in(place: Path) -> list[str]:
    """The folders right below `place` that are looked at, by name."""
    return sorted(item.name for item in place.iterdir() if item.is_dir() and _may_hold_photos(place, item.name))


def _may_hold_photos(place: str | Path, name: str) -> bool:
    return not name.startswith(".") and name != "@eaDir" and not _is_ours(place, name)


def _is_ours(place: str | Path, name: str) -> bool:
    return any(os.path.exists(os.path.join(place, name, mark)) for mark in OURS)


def _not_read(error: OSError) -> None:
    terminal.say(f"{terminal.safe(error.filename)} cannot be read: {error.strerror}")


def taken_at(path: Path) -> str:
    """When the camera says it was taken, ISO 8601, or ""."""
    try:
        with decode.header(path) as picture:
            exif = picture.getexif()
            inner = exif.get_ifd(EXIF_IFD)
            text = str(inner.get(TAKEN) or inner.get(DIGITISED) or exif.get(CHANGED) or "")
    except Exception:   # Pillow's decoders raise kinds of their own; no date is not a failure
        return ""
    found = DATE.match(text.strip("\0 "))
    if not found or not 1826 < int(found[1]) < 2200:
        return ""
    return f"{found[1]}-{int(found[2]):02d}-{int(found[3]):02d}T{found[4] or '00:00:00'}"
