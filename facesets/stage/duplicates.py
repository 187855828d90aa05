"""Bytes once: what the server's checksum tells about equal files.

Immich's `checksum` is the SHA-1 of an uploaded file, but of "path:" + its path for a file in an external library. Equal
content checksums are equal files, which is known before the download. Of the others nothing but all of their bytes
tells (two files can be equal at both ends and differ between, as a copy does that rotted on its disk), so they are
downloaded, and their SHA-256 decides.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from ..common import files
from .state import State


@dataclass
class Sums:
    """Of the bytes that were added."""

    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    sha1: "hashlib._Hash" = field(default_factory=hashlib.sha1)
    length: int = 0

    def add(self, piece: bytes) -> None:
        self.sha256.update(piece)
        self.sha1.update(piece)
        self.length += len(piece)

    @classmethod
    def of(cls, path: Path) -> "Sums":
        sums = cls()
        with open(path, "rb") as file:
            while piece := file.read(files.CHUNK):
                sums.add(piece)
        return sums

    @property
    def checksum(self) -> str:
        """The SHA-1 as Immich writes it."""
        return base64.b64encode(self.sha1.digest()).decode()


def is_content_checksum(checksum: str, path: str, library: object) -> bool:
    """Is `checksum` (base64) that of the bytes, as for every upload? An external library's is that of the path."""
    of_path = base64.b64encode(hashlib.sha1(f"path:{path}".encode("utf-8", "surrogatepass")).digest()).decode()
    return bool(checksum) and checksum != of_path and not library


def settle_unchanged(state: State, outcome: str, where: str = "TRUE") -> None:
    """What an earlier run staged, or found elsewhere, and did not change, stays so."""
    with state.writing() as db:
        for table, settled in (("photos", "have"), ("known", "known"), ("temp.cached", "known")):
            db.execute(f"UPDATE assets SET outcome = ?, reason = '' WHERE run = ? AND outcome = ? AND ({where}) "
                       f"AND sha256 != '' AND sha256 IN (SELECT sha256 FROM {table})", (settled, state.run, outcome))


def settle_by_checksum(state: State) -> int:
    """Settle the assets whose bytes are known by their checksum. Returns how many bytes need no download."""
    saved = 0
    with state.writing() as db:
        for table, settled in (("photos", "have"), ("known", "known")):
            # several users may have one photo, so one row of each checksum counts
            found = f"SELECT checksum, MIN(sha256) AS sha256 FROM {table} WHERE checksum != '' GROUP BY checksum"
            rows = db.execute(
                f"UPDATE assets SET outcome = ?, reason = '', sha256 = found.sha256 FROM ({found}) AS found "
                "WHERE run = ? AND outcome = 'wanted' AND content AND found.checksum = assets.checksum RETURNING size",
                (settled, state.run))
            saved += sum(size for size, in rows.fetchall())
    return saved


def mark_twins(state: State) -> None:
    """Of wanted assets with one checksum all but the first are its twins."""
    with state.writing() as db:
        db.execute("UPDATE assets SET twin = '' WHERE twin != ''")
        places = ("SELECT id AS one, ROW_NUMBER() OVER (PARTITION BY checksum ORDER BY taken, id) AS place "
                  "FROM assets WHERE run = ? AND outcome = 'wanted' AND content")
        db.execute(f"UPDATE assets SET twin = checksum FROM ({places}) WHERE id = one AND place > 1", (state.run,))


def who_has(state: State, sha256: str) -> str:
    """The outcome of an asset with these bytes, "" if nobody has them."""
    row = state.one("SELECT 'have' FROM photos WHERE sha256 = ?1 "
                    "UNION ALL SELECT 'known' FROM known WHERE sha256 = ?1 "
                    "UNION ALL SELECT 'known' FROM cached WHERE sha256 = ?1 LIMIT 1", sha256)
    return row[0] if row else ""
