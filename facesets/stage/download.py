"""One photo from the server to the disk: resumed by what the server answers, verified, then named.

A `.part` file carries the ETag of what it is a part of in its own name, so that a killed run leaves nothing to guess:
206 with the right start appends, 200 starts over. The real name is the SHA-256 and means complete and checked.
"""

import base64
import functools
import hashlib
import os
import re
from pathlib import Path
from typing import Any

import requests

from ..common import files
from ..formats.queue import PICTURES
from ..immich.client import Client, Transient
from .duplicates import Sums
from .state import Asset, Photo

RAW = {".3fr", ".ari", ".arw", ".cap", ".cin", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25",
       ".kdc", ".mrw", ".nef", ".nrw", ".orf", ".ori", ".pef", ".psd", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
       ".srw", ".x3f"}
ROUTES = {"original": "/assets/{}/original", "preview": "/assets/{}/thumbnail?size=preview"}     # by source
LARGEST = 1 << 30       # bytes of a file whose size nobody says; the embed worker reads none half as large
LONGEST_TAG = 60        # characters of an ETag that fit into a file name


def needs_preview(asset: Asset) -> bool:
    """No decoder here reads raw files, and Immich has developed them already."""
    return Path(asset.name).suffix.lower() in RAW or Path(asset.path).suffix.lower() in RAW


def fetch(client: Client, asset: Asset, folder: Path, source: str) -> tuple[Path, Sums]:
    """One attempt at the "original", going on where an earlier one broke off, or at Immich's JPEG, its "preview": a
    file that is complete and checked, and does not have its real name yet.
    """
    parts = files.private_folder(folder / ".part")
    stem = part_stem(asset.id, source)
    expected = asset.size if source == "original" else 0
    part, tag = _earlier(parts, stem, expected)
    sums = Sums.of(part) if part else Sums()
    if part is None or sums.length != expected:
        route = ROUTES[source].format(asset.id)
        part, sums = _receive(client, route, part, tag, sums, parts, stem, expected or LARGEST)
    if expected and sums.length != expected:
        part.unlink()
        raise Transient(f"wrong length: {sums.length} bytes, but its record says {expected}")
    if source == "original" and asset.content and sums.checksum != asset.checksum:
        part.unlink()
        raise Transient("wrong bytes: the checksum differs")
    if not sums.length:
        part.unlink()
        raise Transient("the server's file is empty")
    return part, sums


def _receive(client: Client, route: str, part: Path | None, tag: str, sums: Sums, parts: Path, stem: str,
             most: int) -> tuple[Path, Sums]:
    """Ask for what is missing, append it, and return the part, whose length is checked against what was promised.

    A body of more than `most` bytes ends there, or one that unpacks to anything could fill the disk.
    """
    headers = {"Accept-Encoding": "identity"}
    if part:
        headers |= {"Range": f"bytes={sums.length}-", "If-Range": tag}
    with client.open("GET", route, headers=headers) as answer:
        kind = answer.headers.get("Content-Type", "").lower()
        if kind.startswith(("text/html", "application/json")):
            raise Transient(f"{kind.partition(';')[0]} came instead of the file")
        start, total = _span(answer)
        if not part or start != sums.length or answer.status_code != 206:
            if start:
                raise Transient(f"the server answers with bytes from {start} on")
            if part:
                part.unlink()
            sums, part = Sums(), parts / _part_name(stem, answer.headers.get("ETag", ""))
        with open(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_APPEND, files.FILE_MODE), "ab") as file:
            for chunk in client.chunks(answer):
                file.write(chunk)
                sums.add(chunk)
                client.count_bytes(len(chunk))
                if sums.length > most:
                    part.unlink()
                    raise Transient(f"wrong length: more than the {most} bytes that it should have")
    if total is not None and sums.length != total:
        if sums.length > total:
            part.unlink()
        raise Transient(f"cut off after {sums.length} of {total} bytes")
    return part, sums


def keep(part: Path, photo: Photo) -> None:
    """Give the file its real name, for good."""
    final = Path(photo.folder) / photo.path
    files.private_folder(final.parent)
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, final)
    files.sync_folder(final.parent)


def _earlier(parts: Path, stem: str, expected: int) -> tuple[Path | None, str]:
    """The part that an earlier attempt left, and the ETag it is of; None if there is none to go on with.

    Where nobody says how long the file is, it may be complete, and bytes past the end would be asked for: a new start.
    """
    chosen: tuple[Path | None, str] = (None, "")
    # names alone, and no glob: with 64 workers the folder is long and read at every download
    for path in sorted(parts / name for name in os.listdir(parts) if name.startswith(f"{stem}.")):
        tag = _tag_of(path.name, stem)
        size = path.stat().st_size
        if chosen[0] is None and tag and 0 < size <= expected:
            chosen = path, tag
        else:
            path.unlink(missing_ok=True)
    return chosen


def part_stem(asset_id: str, source: str) -> str:
    """How the name of every part of this asset begins."""
    return f"{hashlib.sha256(asset_id.encode()).hexdigest()[:24]}.{source}"


def _part_name(stem: str, tag: str) -> str:
    """Without an ETag (or with one too long for a name) there is nothing to resume by."""
    usable = tag.encode("utf-8", "replace") if len(tag) <= LONGEST_TAG else b""
    coded = base64.urlsafe_b64encode(usable).decode().rstrip("=")
    return f"{stem}.{coded}.part"


def _tag_of(name: str, stem: str) -> str:
    coded = name.removeprefix(stem + ".").removesuffix(".part")
    try:
        return base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode()
    except ValueError:
        return ""


def _span(answer: requests.Response) -> tuple[int, int | None]:
    """Where the body starts in the file, and the length of the whole file where the answer tells."""
    if answer.status_code == 206:
        said = answer.headers.get("Content-Range", "").strip()
        match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18}|\*)", said)
        if not match:
            raise Transient("a partial answer without saying which part")
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = answer.headers.get("Content-Length", "")
    encoded = answer.headers.get("Content-Encoding", "identity") != "identity"
    return 0, int(length) if re.fullmatch("[0-9]{1,18}", length) and not encoded else None


def named(part: Path, sums: Sums, asset: Asset, folder: Path, source: str) -> Photo | None:
    """The photo in `part`, with its name: its SHA-256, and the suffix that its content asks for. None, and it is gone,
    if no decoder here opens it; only its header is read: a damaged picture is the embed worker's business.
    """
    kind, sides = look(part)
    # a raw file without its suffix opens as the TIFF of its thumbnail
    if not kind or (kind == "TIFF" and asset.width and max(sides) * 2 <= max(asset.width, asset.height)):
        part.unlink()
        return None
    sha256 = sums.sha256.hexdigest()
    return Photo(sha256, sums.checksum, asset.checksum if asset.content else "", sums.length, source,
                 place(sha256, kind), str(folder))


def place(sha256: str, kind: str) -> str:
    """Where a photo lies below the folder of photos. MPO is Pillow's name for a JPEG with a second picture."""
    return f"{sha256[:2]}/{sha256}{'.jpg' if kind == 'MPO' else PICTURES[kind]}"


def look(path: Path) -> tuple[str, tuple[int, int]]:
    """Format, as Pillow calls it, and sides of the picture in `path`; "" if no decoder here opens it."""
    try:
        with _pillow().open(path, formats=tuple(PICTURES)) as image:
            return str(image.format), image.size
    except Exception as error:      # decoders raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise       # the disk, not the picture
        return "", (0, 0)


@functools.cache
def _pillow() -> Any:
    from PIL import Image  # heavy, and only needed once something is downloaded
    from pillow_heif import register_heif_opener
    register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None       # nothing is decoded here
    return Image
