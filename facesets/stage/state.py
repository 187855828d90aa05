"""state.db: what became of every asset, the one truth of a stage run (SQLite, write-ahead log).

    assets    one row an asset that any listing showed; `run` is the last listing that did
    photos    one row a staged file; its SHA-256 is its identity
    known     one row a file whose bytes others have: another user's photo, or a local file of some cache; made anew by
              every run, but for the hashes of local files
    meta      schema, run number, whose library this is (once a run that is no dry run has listed it)

What became of an asset is its `outcome`:
    have       its bytes are a staged photo               known      they are in another user's library or in a cache
    none       no face                                    small      no face is big enough
    excluded   its path matches an exclude glob           foreign    it belongs to somebody else
    error      left for the next run                      rejected   refused by the server, until asked again
    ask        its faces are not known yet                wanted     to be downloaded
    later      not needed yet, by what a backup says of who is on it

Everything is committed when it happens; a kill costs what was in flight.
The connection is shared by all threads under one lock, so that each statement is short and none waits for another's.
"""

import operator
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common import files
from ..common.errors import Failure, Paused

SCHEMA = 1
BATCH = 500     # rows read at once while walking a table

TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS assets (
    id TEXT PRIMARY KEY, run INTEGER NOT NULL, taken TEXT NOT NULL, month TEXT NOT NULL, visibility TEXT NOT NULL,
    name TEXT NOT NULL, path TEXT NOT NULL, checksum TEXT NOT NULL, content INTEGER NOT NULL, size INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, edited TEXT NOT NULL, faces TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT NOT NULL, sha256 TEXT NOT NULL DEFAULT '', twin TEXT NOT NULL DEFAULT '',
    tries INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS assets_outcome ON assets (outcome, taken, id);
CREATE INDEX IF NOT EXISTS assets_sha256 ON assets (sha256, taken, id);
CREATE TABLE IF NOT EXISTS photos (
    sha256 TEXT PRIMARY KEY, sha1 TEXT NOT NULL, checksum TEXT NOT NULL, bytes INTEGER NOT NULL,
    source TEXT NOT NULL, path TEXT NOT NULL, folder TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS photos_checksum ON photos (checksum);
CREATE TABLE IF NOT EXISTS known (
    path TEXT PRIMARY KEY, sha256 TEXT NOT NULL, checksum TEXT NOT NULL, bytes INTEGER NOT NULL,
    stamp INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS known_sha256 ON known (sha256);
CREATE INDEX IF NOT EXISTS known_checksum ON known (checksum);
"""


@dataclass(frozen=True)
class Asset:
    """One asset as a listing gives it."""

    id: str
    taken: str              # fileCreatedAt
    month: str              # of localDateTime, as the timeline counts it: "2024-02"
    visibility: str
    name: str
    path: str
    checksum: str           # base64 of a SHA-1
    content: bool           # of the bytes; False: of the path
    size: int               # bytes, 0 unknown
    width: int              # of the upright original, 0 unknown
    height: int
    edited: str             # JSON [width, height] of the edited picture or ""
    faces: str              # JSON [[x1, y1, x2, y2, person id, person name], ...]
    outcome: str
    reason: str = ""
    sha256: str = ""        # of its bytes, once known
    twin: str = ""          # its content checksum, where it waits for another asset that has it too
    tries: int = 0          # runs that had to leave it for the next


@dataclass(frozen=True)
class Photo:
    """One staged file."""

    sha256: str
    sha1: str               # base64
    checksum: str           # the server's content checksum of the asset it stands for, "" unknown
    bytes: int
    source: str
    path: str               # below `folder`
    folder: str


COLUMNS = tuple(Asset.__dataclass_fields__)[:-3]     # those that a listing writes
listed_columns = operator.attrgetter(*COLUMNS)
ROW = ", ".join((*COLUMNS, "sha256", "twin", "tries"))
SAME = "excluded.checksum = checksum AND excluded.size = size"
# A rejected asset stays so while it is unchanged and the last complete listing (?2), or a later one, showed it.
STILL = f"outcome = 'rejected' AND run >= ?2 AND excluded.outcome IN ('wanted', 'ask') AND {SAME}"
UPSERT = f"""
INSERT INTO assets (run, {', '.join(COLUMNS)})
VALUES (?1, {', '.join(f'?{place}' for place in range(3, 3 + len(COLUMNS)))})
ON CONFLICT (id) DO UPDATE SET
    run = excluded.run,
    sha256 = IIF({SAME}, sha256, ''),
    outcome = IIF({STILL}, outcome, excluded.outcome),
    reason = IIF({STILL}, reason, excluded.reason),
    faces = IIF(excluded.outcome = 'ask', faces, excluded.faces),
    {', '.join(f'{name} = excluded.{name}' for name in COLUMNS if name not in ('id', 'outcome', 'reason', 'faces'))}"""


class State:
    """An open state.db. `run` is the number of the listing that is being made or was made last."""

    def __init__(self, path: Path) -> None:
        files.private_folder(path.parent)
        self.path = path
        self.lock = threading.RLock()
        self._ended: Exception | None = None    # what made the first writer fail: the others need not try
        with self._in_words():
            self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            path.chmod(files.FILE_MODE)
            self.db.execute("PRAGMA busy_timeout = 5000")
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = NORMAL")
            self.db.executescript(TABLES)
            _shed(self.db)
        if self.meta("schema", str(SCHEMA)) != str(SCHEMA):
            raise Failure(f"{path} is of another version of face-sets; move it aside to start this user afresh")
        self.set_meta("schema", str(SCHEMA))
        self.run = int(self.meta("run", "0"))

    def close(self) -> None:
        with self.lock:
            self.db.close()

    def detach(self) -> None:
        """Go on with a copy that nobody else sees and that is gone with this process, however it ends: a dry run leaves
        what the runs before it did."""
        with self.lock, self._in_words():
            copy = sqlite3.connect("", check_same_thread=False, isolation_level=None)     # "": a file without a name
            self.db.backup(copy)
            self.db.close()
            self.db = copy

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with self.lock, self._in_words():
            if self._ended:
                raise self._ended
            try:
                self.db.execute("BEGIN IMMEDIATE")
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.lock, self._in_words():
            return self.db.execute(sql, values).fetchall()

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        with self.lock, self._in_words():
            row: tuple[Any, ...] | None = self.db.execute(sql, values).fetchone()
            return row

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            told = in_words(self.path, error)
            if isinstance(told, Paused):
                self._ended = told
            raise told from None

    def meta(self, key: str, default: str = "") -> str:
        row = self.one("SELECT value FROM meta WHERE key = ?", key)
        return row[0] if row else default

    def set_meta(self, key: str, value: str) -> None:
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def start_run(self) -> None:
        self.run += 1
        self.set_meta("run", str(self.run))

    def put(self, assets: Iterable[Asset]) -> None:
        """Add or refresh assets of this run's listing. What is settled stays so while checksum and size do."""
        listed = int(self.meta("listed", "0"))
        with self.writing() as db:
            db.executemany(UPSERT, ((self.run, listed, *listed_columns(asset)) for asset in assets))

    def settle(self, asset_id: str, outcome: str, reason: str = "") -> None:
        with self.writing() as db:
            db.execute("UPDATE assets SET outcome = ?, reason = ?, tries = tries + ? WHERE id = ?",
                       (outcome, reason, outcome == "error", asset_id))

    def walk(self, where: str) -> Iterator[Asset]:
        """Assets of this run's listing that match, by date and id; rows may change while we walk."""
        taken, identity = "", ""
        while True:
            rows = self.all(f"SELECT {ROW} FROM assets WHERE run = ? AND ({where}) AND (taken, id) > (?, ?) "
                            f"ORDER BY taken, id LIMIT {BATCH}", self.run, taken, identity)
            for row in rows:
                yield Asset(*row)
            if len(rows) < BATCH:
                return
            taken, identity = rows[-1][COLUMNS.index("taken")], rows[-1][0]

    def count(self, where: str) -> int:
        """How many assets `walk` would give."""
        return int(self.all(f"SELECT COUNT(*) FROM assets WHERE run = ? AND ({where})", self.run)[0][0])

    def counts(self) -> dict[str, int]:
        return dict(self.all("SELECT outcome, COUNT(*) FROM assets WHERE run = ? GROUP BY outcome", self.run))


def _shed(db: sqlite3.Connection) -> None:
    """What earlier versions kept: both ends of files, to tell equal files by, and what photos are named for good."""
    db.execute("DROP INDEX IF EXISTS photos_path")
    for table in ("photos", "known"):
        for _, name, *_ in db.execute(f"PRAGMA table_info({table})").fetchall():
            if name in ("head", "tail", "published"):
                db.execute(f"ALTER TABLE {table} DROP COLUMN {name}")


def in_words(path: Path, error: sqlite3.Error) -> Exception:
    """What the operator can do about a database that fails; `error` itself where the mistake is ours."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xff
    if code == sqlite3.SQLITE_FULL:
        return Paused(f"{path.parent}: the disk is full; make room")
    if code == sqlite3.SQLITE_IOERR:
        return Paused(f"{path}: the disk fails ({error}); see that it is there and has room")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Paused(f"{path} is held by another program; end that")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Failure(f"{path} is damaged ({error}); move it aside, and the photos of this user are staged afresh")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return Failure(f"{path} cannot be used ({error}); see to its owner and permissions")
    return error
