"""A queue of photos into a cache: what is new is embedded, saved in parts, folded in. Loads models only if need be."""

import functools
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import terminal
from ..common.errors import Failure
from ..formats import cache, distances
from ..formats import queue as queues
from . import packs
from .parts import Parts
from .reading import REASON, Reading

if TYPE_CHECKING:
    from .analyser import Analyser  # brings onnxruntime and OpenCV, which a run without work does not need
    from .lanes import Outcome
    from .turning import OtherDirections

Outcomes = Callable[..., Generator["Outcome", None, None]]      # with the arguments of lanes.outcomes

SAVE_SECONDS = 20.0     # at the latest; on a slow CPU that is twenty photos


@dataclass
class Summary:
    """What a run did."""

    photos: int = 0             # in the queue
    done_before: int = 0
    with_faces: int = 0         # photos, this run; with the next two and done_before they make up `photos`
    noface: int = 0
    errors: int = 0
    faces: int = 0              # found by this run
    second_look: int = 0        # photos whose faces were found only with the photo padded
    turned: int = 0             # photos that lie on their side or upside down without saying so
    reasons: dict[str, int] = field(default_factory=dict)   # of the errors, the most frequent first
    provider: str = ""
    device_losses: int = 0
    machines: list[dict[str, Any]] = field(default_factory=list)    # where an engine looked: what each one did
    paused: bool = False
    elapsed: float = 0.0        # seconds
    photos_per_second: float = 0.0

    def count(self, outcome: "Outcome") -> None:
        if outcome.photo.turn:      # found at another look
            self.turned += 1
        elif outcome.photo.status == "error":
            self.errors += 1
            self.reasons[outcome.photo.reason] = self.reasons.get(outcome.photo.reason, 0) + 1
        elif outcome.photo.status == "faces":
            self.with_faces += 1
            self.faces += len(outcome.faces)
            self.second_look += outcome.second_look
        else:
            self.noface += 1

    def recount(self, whole: cache.Cache, todo: Sequence[queues.Entry]) -> None:
        """Count the faces of this run as the cache has them: what the first look saw in turned photos is not in it."""
        rows, now = cache.rows_of(whole), self.with_faces + self.noface
        faces = [len(rows.get(entry.sha256, ())) for entry in todo]
        self.faces, self.with_faces = sum(faces), sum(map(bool, faces))
        self.noface = now - self.with_faces

    def lines(self, out: Path) -> list[str]:
        """In words; `out` is the cache."""
        now = self.with_faces + self.noface + self.errors
        second = f", {self.second_look} of them at the second look" if self.second_look else ""
        second += f", {self.turned} photos lie on their side or upside down" if self.turned else ""
        return [f"{now} photos in {self.elapsed:.1f} s ({self.photos_per_second}/s), {self.done_before} before: "
                f"{self.faces} faces in {self.with_faces}{second}, {self.noface} without, {self.errors} unreadable",
                *(f"  {count:6} unreadable: {reason}" for reason, count in list(self.reasons.items())[:10]),
                *("  {host}: {photos} photos, {photos_per_second}/s on {provider}".format(**one)
                  for one in self.machines),
                "paused; everything is saved, the same command goes on" if self.paused else f"{out} is complete"]


@dataclass(frozen=True)
class Options:
    lanes: int = 0              # threads; 0: as many as pay
    save_photos: int = 64       # photos a part
    retry_errors: bool = False


def load(model: str, models_dir: Path, provider: str) -> "Analyser":
    """The models, on the provider that was asked for."""
    from . import providers
    from .analyser import Analyser
    providers.check(provider)      # before anything is fetched
    pack = packs.open_pack(model, models_dir)
    if pack.recogniser.sha256 not in distances.MODELS:
        terminal.say(f"no distances are known for the recogniser of {pack.name}: clustering takes "
                     "those that the strangers in the library give")
    analyser = Analyser(pack, provider, distances.of(pack.recogniser.sha256), say=terminal.say)
    terminal.say(f"{pack.name} on {analyser.provider}")
    return analyser


def run(queue: queues.Queue, out: Path, recogniser_sha256: str, load: Callable[[], "Analyser"],
        options: Options = Options(), elsewhere: Outcomes | None = None) -> Summary:
    """Embed what the cache `out` has not seen yet. `load` gives the analyser whose recogniser is named.

    Names and paths of a queue that changed are taken over even where no photo is new. `elsewhere` looks at the photos,
    if not the lanes of this process. Raises Failure where the cache is of another model.
    """
    started = time.monotonic()
    parts = Parts(out)
    models = {path: cache.model_of(path) for path in parts.written[:2]}     # one part tells for all
    for path, model in models.items():
        if model.sha256 != recogniser_sha256:
            raise Failure(f"{path} was made with {terminal.safe(model.name)} ({model.sha256[:8]}), "
                          f"whose embeddings do not mix with those of the model asked for ({recogniser_sha256[:8]}); "
                          "give the same --model as then, or another --out, or move that file out of its folder")
    done = parts.processed() - (parts.errors() if options.retry_errors else frozenset())
    todo = [entry for entry in queue.entries if entry.sha256 not in done]
    summary = Summary(photos=len(queue.entries), done_before=len(queue.entries) - len(todo))
    work = _Work(queue, parts, functools.cache(load), options, summary, elsewhere)
    if todo or not models:
        models = models or {out: work.load().model}
        work.first_looks(todo)
    model = next(iter(models.values()))
    if not summary.paused and (todo or parts.folder.exists() or not out.exists()
                               or cache.queue_of(out) != queues.digest(queue)):
        work.other_directions()
        if not summary.paused:
            whole = parts.fold(queue, model)
            if summary.turned:
                summary.recount(whole, todo)
    summary.elapsed = round(time.monotonic() - started, 3)
    return summary


@dataclass(frozen=True)
class _Work:
    """Photos of a queue on their way through the models into parts of its cache."""

    queue: queues.Queue
    parts: Parts
    load: Callable[[], "Analyser"]
    options: Options
    summary: Summary
    elsewhere: Outcomes | None

    def first_looks(self, todo: Sequence[queues.Entry]) -> None:
        started = time.monotonic()
        self._do("embed", todo)
        now = self.summary.with_faces + self.summary.noface + self.summary.errors
        self.summary.photos_per_second = round(now / max(time.monotonic() - started, 1e-9), 2)
        self.summary.reasons = dict(Counter(self.summary.reasons).most_common())

    def other_directions(self) -> None:
        """Look again at photos in which no face is clear and upright; those that are turned go into parts too."""
        from . import turning
        asked = turning.unclear(self.parts, self.queue)
        todo = [entry for entry in self.queue.entries if entry.sha256 in asked]
        if todo:
            self._do("turn", todo, turning.OtherDirections(asked))

    def _do(self, what: str, todo: Sequence[queues.Entry], find: "OtherDirections | None" = None) -> None:
        """Photos through the models, a part every so often; Ctrl-C and SIGTERM save what is finished and pause.

        `find` looks at them another time: only those that are turned are kept.
        """
        from . import lanes
        analyser, summary = self.load(), self.summary
        saved = time.monotonic()
        batch: list[Outcome] = []
        bar = terminal.progress(len(todo), what, "photos")
        try:
            with closing(self._arriving(todo, analyser, find)) as arriving:
                for outcome in arriving:
                    if not find or outcome.photo.turn:
                        summary.count(outcome)
                        batch.append(outcome)
                    bar.show(**{"turned": summary.turned} if find else
                             {"faces": summary.faces, "unreadable": summary.errors})
                    bar.update()
                    if len(batch) >= self.options.save_photos or time.monotonic() - saved > SAVE_SECONDS:
                        self.parts.add(lanes.as_cache(batch, analyser.model))
                        batch, saved = [], time.monotonic()
        except KeyboardInterrupt:
            summary.paused = True
        finally:
            if batch:
                self.parts.add(lanes.as_cache(batch, analyser.model))
            bar.close()
            summary.provider = analyser.provider
            summary.device_losses = len(analyser.detector.losses) + len(analyser.recogniser.losses)

    def _arriving(self, todo: Sequence[queues.Entry], analyser: "Analyser",
                  find: "OtherDirections | None") -> Generator["Outcome", None, None]:
        """First the photos that an earlier process may not have survived, one at a time; see reading.py."""
        from . import lanes
        reading = Reading(self.parts.folder / "reading")
        hopeless, suspects, others = reading.sorted(todo)
        if self.options.retry_errors:
            suspects, hopeless = hopeless + suspects, []
        for entry in hopeless:
            yield lanes.Outcome(replace(lanes.unread(entry, self.queue.user), status="error", reason=REASON))
        for entries, count in ((suspects, 1), (others, self.options.lanes)):
            outcomes = self.elsewhere or lanes.outcomes
            with closing(outcomes(entries, analyser, count, self.queue.user, reading.of, self.queue.entries,
                                  find)) as arriving:
                yield from arriving
