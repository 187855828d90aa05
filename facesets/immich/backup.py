"""What a backup of Immich's database says of one user's faces: boxes, people, and the embeddings that no route gives.

A backup, as Immich writes it every night, is what pg_dump prints: SQL, packed by gzip or not, in which every table is a
COPY block of lines. Six tables are read, and of those the columns below, wherever the block's first line says that
they are; all else, password hashes and keys above all, is passed over line by line. Nothing is executed.

Words: F faces that are to be seen, of which N have an embedding of D numbers. D is 512, whichever of Immich's
recognisers made it, and the numbers are raw: the longer the vector, the clearer the face.
"""

import gzip
import io
import json
import re
import warnings
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..common import terminal
from ..common.errors import Failure, NotAllowed, Paused, of_disk
from . import preflight
from .client import Client, Rejected, Transient, understanding

D = 512
RECOGNISER = "buffalo_l"        # Immich's own choice, which its settings name only where it was changed
FRAME = ("imageWidth", "imageHeight", "boundingBoxX1", "boundingBoxY1", "boundingBoxX2", "boundingBoxY2")
PERSON = ("personId", "personGroupId")      # until 3.1, from 3.2
LONGEST_LINE = 64 << 20         # bytes; a row of any table has some thousand
LAST_LINE = re.compile(rb"-- PostgreSQL database dump complete\s*")
COPY = re.compile(rb'COPY (?:"?\w+"?\.)?"?(\w+)"? \(([^)]*)\) FROM stdin;\s*')
ESCAPE = re.compile(rb"\\(.)")
ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
NULL = b"\\N"
PACKED = {b"PGDMP": "in pg_dump's custom format", b"(\xb5/\xfd": "packed by zstd", b"PK\x03\x04": "a zip",
          b"\xfd7zXZ": "packed by xz", b"BZh": "packed by bzip2"}
WANTED = "wanted is a backup as Immich makes it: plain SQL of pg_dump, ending in .sql.gz or .sql"

NAME = re.compile(r"[\w.-]*?(\d{8}T\d{6})[\w.-]*\.sql(?:\.gz)?", re.ASCII)     # of a backup on the server; its time
FIRST_GIVEN = (2, 5, 0)         # the first Immich that gives backups to a key
PERMISSIONS = ("maintenance", "backup.download")

Columns = Mapping[str, int]


class _Damaged(Exception):
    """What is wrong with it, to follow its name."""


def of_file(path: Path, owner: str) -> "Backup":
    """The faces of the user `owner` in the backup `path`. Raises Failure where it is none."""
    try:
        with open(path, "rb") as file:
            return read(file, str(path), owner)
    except OSError as error:
        raise of_disk(error, path) from None


def of_server(client: Client, owner: str) -> "Backup":
    """The faces of the user `owner` in the newest backup that the server has: streamed, nothing of it is kept. The
    client's key is an administrator's.
    """
    url = client.access.url
    try:
        server = preflight.greet(client)
        if server.version < FIRST_GIVEN:
            raise Failure(f"{url} is {server}, which gives its backups to nobody; copy one from its folder `backups`, "
                          "and name it: --backup FILE")
        preflight.require(client, server, PERMISSIONS, "IMMICH_ADMIN_API_KEY")
        with understanding("/admin/database-backups"):
            sizes = {str(item["filename"]): int(item["filesize"])
                     for item in client.get("/admin/database-backups")["backups"]}
        dated = [(found[1], name) for name in sizes if (found := NAME.fullmatch(name))]
        if not dated:
            raise Failure(f"{url} has no backup yet; in Immich: Administration, Job Queues, Create job, Create "
                          "database dump")
        newest = max(dated)[1]
        return client.retrying(lambda: _receive(client, newest, sizes[newest], owner))
    except NotAllowed as error:
        raise NotAllowed(f"{error}; IMMICH_ADMIN_API_KEY must be the key of an administrator") from None
    except (Transient, Rejected) as error:
        raise Paused(f"{url} does not give its backup: {error}") from None


def _receive(client: Client, name: str, size: int, owner: str) -> "Backup":
    headers = {"Accept-Encoding": "identity"}
    with client.open("GET", f"/admin/database-backups/{name}", headers=headers) as answer:
        return read(io.BufferedReader(_Body(_whole(client.chunks(answer, size), size)), 1 << 20), name, owner)


def _whole(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The pieces; Transient where they end before `size` bytes, which not every answer says of itself."""
    arrived = 0
    for piece in pieces:
        arrived += len(piece)
        yield piece
    if arrived < size:
        raise Transient(f"the answer ends after {arrived:,} of {size:,} bytes")


class _Body(io.RawIOBase):
    """What arrives in pieces, as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces, self.rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.rest = self.rest or next(self.pieces, b"")
        part, self.rest = self.rest[:len(buffer)], self.rest[len(buffer):]
        buffer[:len(part)] = part
        return len(part)


def read(file: io.BufferedReader, name: str, owner: str) -> "Backup":
    """The faces of the user `owner` in what `file` gives, which is read once, from its beginning to its end."""
    try:
        made, taken = Backup(owner), set[str]()
        with terminal.progress(None, "backup", "MB") as bar, warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)      # numpy's, of a text that is no number
            for table, columns, rows in _blocks(_lines(_unpacked(file), bar)):
                if take := getattr(made, f"take_{table}", None):
                    if table in taken:
                        raise _Damaged(f"has the table {table} twice; {WANTED}, of one database")
                    taken.add(table)
                    take(columns, rows)
        return made.done()
    except _Damaged as error:
        raise Failure(f"{name} {error}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        cut = isinstance(error, EOFError)
        raise Failure(f"{name} {'breaks off' if cut else 'is damaged'}; take another backup") from None
    except (LookupError, ValueError, OverflowError, RecursionError, DeprecationWarning) as error:
        raise Failure(f"{name} is damaged, or of an Immich that we do not know ({type(error).__name__}: "
                      f"{terminal.safe(error, 80)}); {WANTED}") from None


def _unpacked(file: io.BufferedReader) -> IO[bytes]:
    begin = file.peek(8)[:8]
    for sign, what in PACKED.items():
        if begin.startswith(sign):
            raise _Damaged(f"is {what}; {WANTED}")
    return io.BufferedReader(gzip.GzipFile(fileobj=file), 1 << 20) if begin.startswith(b"\x1f\x8b") else file


def _lines(file: IO[bytes], bar: terminal.Bar) -> Iterator[bytes]:
    size = 0
    while line := file.readline(LONGEST_LINE):
        size += len(line)
        if size >> 20:
            bar.update(size >> 20)
            size &= (1 << 20) - 1
        if len(line) == LONGEST_LINE:
            raise _Damaged(f"has a line without end; {WANTED}")
        yield line[:-2] + b"\n" if line.endswith(b"\r\n") else line      # from a terminal; COPY writes \r as letters


def _blocks(lines: Iterator[bytes]) -> Iterator[tuple[str, Columns, Iterator[list[bytes]]]]:
    """Every COPY block: its table, where its columns are, and its rows, which may be left unread."""
    known = complete = False
    for line in lines:
        if line.startswith(b"COPY ") and (found := COPY.fullmatch(line)):
            names = [name.strip().strip('"') for name in found[2].decode().split(",")]
            table, rows = found[1].decode(), _rows(lines)
            known, complete = True, False       # of several databases each has a last line
            yield table, {name: place for place, name in enumerate(names)}, _cells(rows, table, len(names))
            for _ in rows:
                pass
        complete = complete or bool(LAST_LINE.fullmatch(line))
    if not known:
        raise _Damaged(f"holds no tables of Immich; {WANTED}")
    if not complete:
        raise _Damaged("breaks off; take another backup")


def _rows(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        if line == b"\\.\n":
            return
        if not line.endswith(b"\n"):
            break
        yield line
    raise _Damaged("breaks off; take another backup")


def _cells(rows: Iterator[bytes], table: str, columns: int) -> Iterator[list[bytes]]:
    for row in rows:
        cells = row.rstrip(b"\n").split(b"\t")
        if len(cells) != columns:
            raise _Damaged(f"is damaged: {table} has a row of {len(cells)} columns, not {columns}; take another backup")
        yield cells


class Backup:
    """The faces of one user, as far as they are read. pg_dump writes tables by name, so that each comes after those it
    refers to.
    """

    def __init__(self, owner: str) -> None:
        self.recogniser = RECOGNISER
        self.assets: list[str] = []                         # ids
        self.people: dict[str, str] = {}                    # id -> name, of everybody who has a face here
        self.searched = frozenset[str]()                    # ids of the assets that Immich has looked for faces in
        self.asset = np.zeros(0, np.int32)                  # (F,) index into `assets`
        self.person: list[str] = []                         # F ids, "" for nobody
        self.frame = np.zeros((0, len(FRAME)), np.int32)    # (F, 6) FRAME: sides of the preview, and the box in it
        self.face = np.zeros(0, np.int64)                   # (N,) index of the face that each embedding is of
        self.embeddings = np.zeros((0, D), np.float32)      # (N, D) raw
        self._owner = owner.encode()
        self._assets: dict[bytes, int] | None = None        # id -> number
        self._faces: dict[bytes, int] | None = None         # id -> number, of those without an embedding so far

    @cached_property
    def faces_of(self) -> dict[str, np.ndarray]:
        """Asset id -> indices of its faces."""
        order = np.argsort(self.asset, kind="stable")
        numbers, first = np.unique(self.asset[order], return_index=True)
        return {self.assets[number]: faces for number, faces in
                zip(numbers.tolist(), np.split(order, first[1:]), strict=True)} if len(order) else {}

    def rows(self, asset_id: str) -> list[dict[str, Any]]:
        """The faces of an asset as Immich's own replies show them."""
        return [{**dict(zip(FRAME, self.frame[face].tolist(), strict=True)),
                 "person": {"id": self.person[face], "name": self.people.get(self.person[face], "")}}
                for face in self.faces_of.get(asset_id, ())]

    def take_asset(self, columns: Columns, rows: Iterable[list[bytes]]) -> None:
        ident, owner = columns["id"], columns["ownerId"]
        mine = (row[ident] for row in rows if row[owner] == self._owner)
        self._assets = {one: number for number, one in enumerate(dict.fromkeys(mine))}
        self.assets = [one.decode() for one in self._assets]

    def take_asset_face(self, columns: Columns, rows: Iterable[list[bytes]]) -> None:
        if self._assets is None:
            raise _Damaged(f"has its tables in another order; {WANTED}")
        ident, asset, deleted = (columns[name] for name in ("id", "assetId", "deletedAt"))
        seen, person = columns.get("isVisible"), columns[PERSON[PERSON[1] in columns]]
        frame, same = [columns[name] for name in FRAME], dict[bytes, str]()
        assets, frames = array("i"), array("i")
        self._faces = {}
        for row in rows:
            number = self._assets.get(row[asset])
            if number is None or row[deleted] != NULL or (seen is not None and row[seen] != b"t"):
                continue
            box = array("i", [int(row[place]) for place in frame])
            if min(box[0], box[1]) < 1:
                continue
            self._faces[row[ident]] = len(assets)
            assets.append(number)
            frames.extend(box)
            self.person.append(same.setdefault(row[person], "" if row[person] == NULL else row[person].decode()))
        self.asset, self.frame = np.array(assets, np.int32), np.array(frames, np.int32).reshape(-1, len(FRAME))

    def take_asset_job_status(self, columns: Columns, rows: Iterable[list[bytes]]) -> None:
        asset, when, ours = columns["assetId"], columns.get("facesRecognizedAt"), self._assets or {}
        self.searched = frozenset(row[asset].decode() for row in rows
                                  if when is not None and row[when] != NULL and row[asset] in ours)

    def take_face_search(self, columns: Columns, rows: Iterable[list[bytes]]) -> None:
        if self._faces is None:
            raise _Damaged(f"has its tables in another order; {WANTED}")
        ident, place, count = columns["faceId"], columns["embedding"], 0
        self.embeddings = np.empty((len(self._faces), D), np.float32)    # touched, so in memory, row by row
        self.face = np.empty(len(self._faces), np.int64)
        for row in rows:
            face = self._faces.pop(row[ident], None)
            if face is None:
                continue
            numbers = np.fromstring(row[place].strip(b"[]"), np.float32, sep=",")
            if len(numbers) != D:
                raise _Damaged(f"has embeddings of {len(numbers)} numbers; wanted are those of Immich's face "
                               f"recognisers, of {D}")
            self.embeddings[count], self.face[count] = numbers, face
            count += 1
        self.embeddings, self.face = self.embeddings[:count], self.face[:count]

    def take_person(self, columns: Columns, rows: Iterable[list[bytes]]) -> None:
        ident = columns[PERSON[1] if PERSON[1] in columns else "id"]    # 3.2: a name is one owner's for a group
        name, owner, ours = columns["name"], columns["ownerId"], set(self.person)
        self.people = {person: terminal.name(_text(row[name])) for row in rows
                       if row[owner] == self._owner and (person := row[ident].decode()) in ours}

    def take_system_metadata(self, columns: Columns, rows: Iterable[list[bytes]]) -> None:
        for row in rows:
            if row[columns["key"]] == b"system-config":
                chosen = json.loads(_text(row[columns["value"]]))
                for name in ("machineLearning", "facialRecognition", "modelName"):
                    chosen = chosen.get(name, {}) if isinstance(chosen, dict) else {}
                self.recogniser = terminal.safe(chosen, 60) if isinstance(chosen, str) else RECOGNISER

    def done(self) -> "Backup":
        if self._assets is None or self._faces is None:
            raise _Damaged(f"holds no faces of Immich 2.0 or newer; {WANTED}")
        if not self.assets:
            raise _Damaged("knows no photo of this user; is it of another server?")
        with np.errstate(over="ignore", invalid="ignore"):
            lengths = np.einsum("nd,nd->n", self.embeddings, self.embeddings)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise _Damaged("has embeddings that are none; take another backup")
        self._assets = self._faces = None
        return self


def _text(cell: bytes) -> str:
    """A column as the database has it."""
    plain = b"" if cell == NULL else ESCAPE.sub(lambda found: ESCAPED.get(found[1], found[1]), cell)
    return plain.decode("utf-8", "replace")
