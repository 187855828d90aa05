"""Bytes once: what the server's data tells about equal files, and what two small pieces of a file tell.

Immich's `checksum` is the SHA-1 of an uploaded file, but of "path:" + its path for a file in an external library. Equal
content checksums are equal files. For the rest, only files of equal size can be equal, and first and last 64 KiB decide
for formats that are compressed to their end: there a file that differs in the middle differs in length or tail. Bitmaps
and raw files can be equal at both ends and differ between, so they are downloaded and their SHA-256 decides.
"""

import base64
import hashlib
from pathlib import Path

PIECE = 64 << 10        # bytes of head and of tail
SEALED = {".jpg", ".jpeg", ".jpe", ".heic", ".heif", ".hif", ".avif", ".webp", ".png", ".jxl", ".gif", ".jp2"}


def is_content_checksum(checksum: str, path: str, library: object) -> bool:
    """Is `checksum` (base64) that of the bytes, as for every upload? An external library's is that of the path."""
    if not checksum or checksum == path_checksum(path):
        return False
    return not library


def path_checksum(path: str) -> str:
    return base64.b64encode(hashlib.sha1(f"path:{path}".encode("utf-8", "surrogatepass")).digest()).decode()


def ends_decide(name: str, size: int) -> bool:
    """Do head and tail settle whether two files of this name's format and `size` are equal?"""
    return 0 < size <= 2 * PIECE or Path(name).suffix.lower() in SEALED


def ends(path: Path) -> tuple[str, str]:
    """SHA-256 of the first and of the last 64 KiB (all of it, where it is shorter)."""
    with open(path, "rb") as file:
        head = file.read(PIECE)
        file.seek(max(0, path.stat().st_size - PIECE))
        return digest(head), digest(file.read(PIECE))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
