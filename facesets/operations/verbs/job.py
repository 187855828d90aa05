"""One command of sort_faces.py: its command line, its settings, and how it tells what it did."""

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from ...common import files, terminal
from ...common.errors import OK, PAUSED, Failure, UsageError
from ...formats import cache, proposal
from ...formats.proposal import Proposal
from ...formats.queue import Queue
from ...formats.queue import read as read_queue
from ...library import members
from ...library.run import Run
from ...library.store import Library

Act = Callable[[Run], None]


class Job:
    """`settings` gives a section of them by its name, when a verb asks for it, and `write_key` the key that may write
    to Immich; so a verb reads only its own. `folders`: the flags that the next command needs, to find the same ones.
    """

    def __init__(self, args: argparse.Namespace, settings: Callable[[str], Any], write_key: Callable[[], str],
                 folders: str = "") -> None:
        self.folders = folders
        self.args, self.settings, self.write_key = args, settings, write_key
        self.paths = settings("Paths")
        self.library = Library(self.paths.library)
        self.dry_run: bool = getattr(args, "dry_run", False)

    @property
    def command(self) -> str:
        """Tells a repeat of this command; a digest, since a name in it must not outlast the person."""
        words = sorted((name, str(value)) for name, value in vars(self.args).items() if name != "json")
        return hashlib.sha256(repr(words).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def cluster_lock(self) -> Path:
        """What whoever takes faces out of the caches, to write of them elsewhere, holds: so does cluster_immich.py."""
        return Path(self.paths.data_root / "cluster.lock")

    def alone(self) -> AbstractContextManager[None]:
        return files.only_one(self.cluster_lock, f"sort_faces.py {self.args.verb}")

    @property
    def own_cache(self) -> Path:
        """The cache of the operator's own folders."""
        return Path(getattr(self.args, "into", None) or self.paths.caches / "nl_full.npz").absolute()

    @property
    def outside(self) -> Path:
        """The folder to write for other programs into. Below the library its folders would be those of facesets."""
        out: Path = self.args.out.absolute()
        if out.resolve().is_relative_to(self.paths.library.resolve()):
            raise UsageError(f"--out {out} is in the library itself; name a folder elsewhere")
        return out

    def options(self, model: cache.Model | None = None) -> Any:
        """How facesets are made of faces of a model, by default the library's."""
        from ...export import draft, looks
        if model is None:
            known = self.library.manifest().model
            if not known:
                raise Failure(f"{self.paths.library} holds no faceset yet; `sort_faces.py status` says what to run")
            model = cache.Model(**known)
        embedding = self.settings("Embedding")
        opener = looks.opener(model, embedding.model, embedding.models_dir, embedding.provider)
        return draft.Options(opener, **asdict(self.settings("Exporting")))

    @cached_property
    def sources(self) -> dict[Path, cache.Cache]:
        """The caches that are named, else all in work/cache that go with the library's model."""
        if named := getattr(self.args, "cache", None):
            return {path.absolute(): cache.read(path) for path in named}
        model = self.library.manifest().model or {}
        return members.beside(sorted(self.paths.caches.glob("*.npz")), str(model.get("sha256", "")))

    def caches(self) -> list[cache.Cache]:
        if not self.sources:
            made_with = (self.library.manifest().model or {}).get("name")
            of = f" of {made_with}, as the facesets are," if made_with else ""
            raise Failure(f"there is no cache{of} in {self.paths.caches}; run embed_worker.py or sort_faces.py embed "
                          "first")
        return list(self.sources.values())

    def queues(self) -> list[Queue]:
        """What every user's stage has handed over."""
        return [read_queue(path) for path in sorted(self.paths.data_root.glob("immich/*/queue.json"))]

    def proposal_paths(self) -> list[Path]:
        found = [self.paths.data_root / "refine.json", *sorted(self.paths.data_root.glob("immich/*/refine.json"))]
        return [path for path in found if path.exists()]

    def proposals(self) -> dict[Path, Proposal]:
        return terminal.legible(proposal.read, self.proposal_paths())

    def tell(self, result: Any, lines: Sequence[str]) -> int:
        """What was done, on stderr; as JSON on stdout too, where it is asked for."""
        terminal.tell(result, lines, self.args.json)
        return OK

    def answer(self, result: Any, lines: Sequence[str]) -> int:
        """What was asked for, on stdout in either form."""
        as_lines = "\n".join(map(terminal.safe, lines))
        terminal.answer(json.dumps(result, ensure_ascii=False) if self.args.json else as_lines)
        return OK

    def show(self, run: Run) -> int:
        """What a run did. What waits for photos that cannot be read now is not done."""
        counts = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in run.counts.items() if count)
        folders = ", ".join(run.facesets[:12]) + (" …" if len(run.facesets) > 12 else "")
        what = "would change" if self.dry_run else "changed"
        self.tell(run.as_json(), [*run.notes, *([f"{run.verb}: {counts or 'nothing to do'}"] if counts or not folders
                                                else []), *([f"{what}: {folders}"] if folders else [])])
        return PAUSED if run.waiting else OK

    def change(self, *acts: Act) -> int:
        """Operations as one run of the library."""
        from ...export.run import changing
        with changing(self.library, self.args.verb, "", self.dry_run, self.command, self.show) as run:
            for act in acts:
                act(run)
        return PAUSED if run.waiting else OK
