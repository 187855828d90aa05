"""What others have already: other users' staged photos, and the photos of every cache but our own.

Known means that somebody really has it, now: a cache that is there has its faces (or found none), or its file is there
and in the queue of its user, so that a cache will have them.
"""

import contextlib
import os
import sqlite3
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

from ..formats import cache
from .duplicates import Sums
from .photos import staged_files
from .state import State, in_words


def gather(state: State, databases: Iterable[Path], caches: Iterable[Path]) -> None:
    """Fill `known` (what the server's data can be held against) and `cached` (SHA-256 of every cache's photos)."""
    with state.writing() as db:
        db.execute("CREATE TEMP TABLE IF NOT EXISTS cached (sha256 TEXT PRIMARY KEY, path TEXT) WITHOUT ROWID")
        db.execute("DELETE FROM cached")
    for path in caches:
        pairs = photo_paths(path)
        with state.writing() as db:
            db.executemany("INSERT OR IGNORE INTO cached VALUES (?, ?)", pairs)
    with state.writing() as db:
        db.execute("DELETE FROM known WHERE stamp = 0 OR sha256 NOT IN (SELECT sha256 FROM cached)")
    for path in databases:
        _photos_of(state, path)


def photo_paths(path: Path) -> list[tuple[str, str]]:
    """(SHA-256, path) of every photo that a cache has read."""
    return [(str(sha256), str(place)) for sha256, place, status in cache.columns(path, "sha256", "path", "status")
            if status != "error"]


def local_files(state: State) -> None:
    """Let the server's data be held against files of caches that lie here: hash those whose size some asset has.

    A file is hashed once; its time and size tell whether it changed since.
    """
    sizes = {size for size, in state.all(
        "SELECT DISTINCT size FROM assets WHERE run = ? AND outcome = 'wanted' AND content", state.run)}
    for sha256, place in state.all("SELECT sha256, path FROM cached WHERE path != '' "
                                   "AND sha256 NOT IN (SELECT sha256 FROM known WHERE stamp = 0)"):
        try:
            status = os.stat(place)
            stamp = status.st_mtime_ns or 1
            if status.st_size not in sizes or (sha256, status.st_size, stamp) == state.one(
                    "SELECT sha256, bytes, stamp FROM known WHERE path = ?", place):
                continue
            sums = Sums.of(Path(place))
        except (OSError, ValueError):
            continue
        with state.writing() as db:
            db.execute("DELETE FROM known WHERE path = ?", (place,))
            if sums.sha256.hexdigest() == sha256:
                db.execute("INSERT INTO known VALUES (?, ?, ?, ?, ?)",
                           (place, sha256, sums.checksum, status.st_size, stamp))


def _photos_of(state: State, path: Path) -> None:
    """Copy what another user has; a database that is no state.db is somebody else's and passed over."""
    uri = f"file:{urllib.parse.quote(str(path))}?mode=ro"
    here: dict[str, set[str]] = {}      # folder -> files in it
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=5)) as other:
            rows = other.execute(STAGED)
            while batch := rows.fetchmany(5000):
                with state.writing() as db:
                    for folder, name, sha256, checksum, size, queued in batch:
                        if folder not in here:
                            here[folder] = staged_files(Path(folder))
                        if (queued and name in here[folder]) or state.one(CACHED, sha256):
                            db.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, 0)",
                                       (f"{folder}/{name}", sha256, checksum, size))
    except sqlite3.Error as error:
        if "no such " not in str(error):     # another run is making its tables just now, or it is no state.db of ours
            raise in_words(path, error) from None


CACHED = "SELECT 1 FROM cached WHERE sha256 = ?"
# A photo is in the queue while an asset of a listing shows it, one that may be going on right now.
STAGED = """
SELECT folder, path, sha256,
    CASE WHEN checksum != '' THEN checksum WHEN source = 'original' THEN sha1 ELSE '' END, bytes,
    sha256 IN (SELECT sha256 FROM assets WHERE outcome IN ('have', 'wanted', 'ask')
               AND run >= (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'listed'))
FROM photos"""
