"""One run that changes facesets: a change of the library, and at its end what the whole library shows of it.

    with changing(library, "extend") as run:     one change, all or nothing, one entry in `runs`
        ...                                      any number of operations
Operations take the session and plain values, so that several can be one run.
"""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..common.errors import Failure, Paused
from ..formats import cache
from ..library import folder as folders
from ..library.folder import Record
from ..library.store import Entry, Library, Session, new_run
from . import embeddings

FOLDER_AT_END = re.compile(r"(faceset_\d{3,9})\)?$")


@dataclass
class Summary:
    """What a run did, or would do; `print`ed by sort_faces.py as text or JSON."""

    run: str
    verb: str
    dry_run: bool = False
    facesets: list[str] = field(default_factory=list)   # folders made or changed
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)      # what a person should know, one line each
    waiting: list[str] = field(default_factory=list)    # face keys of groups that lack photos that cannot be read now

    def count(self, what: str, many: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + many

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Run:
    """A session of the library and the summary that grows with it."""

    def __init__(self, session: Session, summary: Summary) -> None:
        self.session, self.summary = session, summary

    def touch(self, folder: str) -> None:
        """Say that the run made or changed `folder`."""
        if folder not in self.summary.facesets:
            self.summary.facesets.append(folder)
        self.session.touched.append(folder)

    def enter(self, record: Record, members: int, where: str = "facesets", into: str = "") -> None:
        """Put the folder of `record` into a list of the top manifest, in the place of what was there of it."""
        manifest = self.session.manifest
        manifest.take_out(record.folder)
        years = sorted(int(year) for year in record.eras if year.isdecimal())
        getattr(manifest, where).append(Entry(
            record.folder, record.number, record.name, record.proposed_name, members, len(record.faces), record.spread,
            [years[0], years[-1]] if years else [], record.users, record.run, record.reason, into))
        getattr(manifest, where).sort(key=lambda entry: (entry.number, entry.folder))
        self.touch(record.folder)


@contextmanager
def changing(library: Library, verb: str, run: str = "", dry_run: bool = False, command: str = "",
             tell: Callable[[Summary], object] = lambda summary: None) -> Iterator[Run]:
    """A run of operations, committed when the block ends well. A full disk ends it as Paused, nothing changed."""
    summary = Summary(run or new_run(verb), verb, dry_run)
    try:
        with library.change(verb, summary.run, dry_run, command, lambda: tell(summary)) as session:
            yield Run(session, summary)
            session.counts = summary.counts
            if session.touched and not dry_run:
                _visomaster(session)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Paused(f"the disk of {library.root} is full; nothing was changed; make room and run the same command "
                         "again") from None
        raise Failure(f"{error.filename or library.root}: {error.strerror or error}; nothing was changed") from None


def _visomaster(session: Session) -> None:
    """Write the list of all facesets again, reading only those that the run touched."""
    model = session.manifest.model
    if not model or not embeddings.usable(cache.Model(**model)):
        return
    known = _known_means(session)
    means = []
    for entry in session.manifest.facesets:
        if entry.folder in session.touched or entry.folder not in known:
            place = session.change.current(f"{entry.folder}/{folders.FACES}")
            if not place.exists():
                continue
            contents = folders.read_faces(place)
            known[entry.folder] = contents.faces.raw[contents.rank > 0].mean(axis=0)
        name = entry.name or entry.proposed_name
        means.append((f"{name} ({entry.folder})" if name else entry.folder, known[entry.folder]))
    embeddings.visomaster(session.change.write(embeddings.VISOMASTER), means)


def _known_means(session: Session) -> dict[str, np.ndarray]:
    """Folder -> mean raw embedding, out of the list as it stands."""
    listed = embeddings.visomaster_means(session.change.current(embeddings.VISOMASTER))
    return {found[1]: mean for name, mean in listed.items() if (found := FOLDER_AT_END.search(name))}
