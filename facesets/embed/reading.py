"""Which photos are being read right now, so that one that ends the whole program is not met for ever.

A decoder or driver written in C can end the process on a photo that nobody thought of. Each photo has a file
`reading/<sha256>` while a lane works on it, as many bytes long as runs have begun it; what is left there, the process
did not survive. Those photos come first in the next run and alone; after TRIES runs that they ended they are an error.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..common import files
from ..formats.queue import Entry

TRIES = 3
REASON = f"ended the program {TRIES} times while it was read"


class Reading:
    """The marks in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = files.private_folder(folder)
        self._tries = {path.name: path.stat().st_size for path in folder.glob("*")}

    def sorted(self, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry], list[Entry]]:
        """Those that ended too many runs, those that may have ended one, and the others."""
        kinds: tuple[list[Entry], list[Entry], list[Entry]] = ([], [], [])
        for entry in entries:
            tries = self._tries.get(entry.sha256, 0)
            kinds[0 if tries >= TRIES else 1 if tries else 2].append(entry)
        return kinds

    @contextmanager
    def of(self, entry: Entry) -> Iterator[None]:
        """Mark a photo for as long as it is worked on. Not synced: what a process wrote outlives it without that."""
        mark = self._folder / entry.sha256
        with open(mark, "ab") as file:
            file.write(b".")
        try:
            yield
        finally:
            with suppress(OSError):     # Windows: something else looks at it
                mark.unlink()
