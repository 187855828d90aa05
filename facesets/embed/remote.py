"""What a worker of an engine does for us: prove itself once a process, then look at photos. machines.py sends it.

The models are held by the process, not by a task. Whoever has not proven them in this very process looks at nothing.
"""

import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common import workers
from ..formats.queue import Entry

if TYPE_CHECKING:
    from .analyser import Analyser  # the scheduler reads this module as well, and needs no models
    from .lanes import Find, Outcome

_analysers: dict[str, "Analyser"] = {}     # of this process, by the name of the model
SHARE_SECONDS = 20.0    # that the folder of the photos may take to show one
BELOW = ("common/connect", "common/errors", "common/files", "common/terminal", "common/threads", "common/workers",
         "formats/boxes", "formats/cache", "formats/distances", "formats/quality", "formats/queue")   # imported here


class NotProven(Exception):
    """This process holds no such models: it began anew since it proved them."""


@dataclass
class Proof:
    """What a worker can do."""

    host: str
    models: tuple[str, str]     # SHA-256 of detector and recogniser
    provider: str
    sees: bool                  # one of the photos by its path
    boxes: np.ndarray           # (n, 4) and
    raw: np.ndarray             # (n, D), of the faces of the sample


def prove(settings: Callable[[], Any], model: str, sample: bytes, probes: Sequence[Entry]) -> Proof:
    """Load the models on the provider that the settings of this machine name, and show what comes out for `sample`; and
    whether one of `probes` lies here."""
    from . import decode, lanes, pipeline, turning  # noqa: F401, all now, before anybody changes one of them
    mine = settings()
    if model not in _analysers:
        lanes.one_thread_each()
        _analysers[model] = pipeline.load(model, mine.models_dir, mine.provider)
    analyser = _analysers[model]
    return Proof(socket.gethostname(), (analyser.model.detector_sha256, analyser.model.sha256), analyser.provider,
                 _sees(probes), *faces_of(decode.decode(sample), analyser))


def _sees(probes: Sequence[Entry]) -> bool:
    """Whether one of them lies here under its path. Decodes none: there may be one that ends a process."""
    from . import decode, lanes
    seen: list[Entry] = []

    def search() -> None:
        for entry in probes:
            with suppress(decode.Unreadable):
                lanes.read(entry)
                seen.append(entry)
                return

    searching = threading.Thread(target=search, daemon=True)
    searching.start()
    searching.join(SHARE_SECONDS)
    return bool(seen)


def faces_of(bgr: np.ndarray, analyser: "Analyser") -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) and raw embeddings (n, D) of a photo (H, W, 3)."""
    boxes, _, landmarks = analyser.detect(bgr)
    return boxes, analyser.embed(bgr, landmarks)


def look(model: str, photos: Sequence[tuple[Entry, "Find | None", bytes | None]], user: str,
         seconds: float) -> list[tuple["Outcome", str, int]]:
    """What became of each photo, the provider that worked, and how often its device went away so far.

    With the bytes where this machine does not see the photo. A look that takes longer than `seconds` ends this process.
    """
    if model not in _analysers:
        raise NotProven
    return [_look(_analysers[model], *photo, user, seconds) for photo in photos]


def _look(analyser: "Analyser", entry: Entry, find: "Find | None", data: bytes | None, user: str,
          seconds: float) -> tuple["Outcome", str, int]:
    from . import lanes
    watch = threading.Timer(seconds, os._exit, (1,))    # a thread that hangs in a decoder or on a share cannot be ended
    watch.daemon = True
    watch.start()
    try:
        outcome = next(lanes.recognised([lanes.look(entry, analyser, user, find, data)], analyser))
    except Exception as error:      # it is this photo's, and the next may be well
        outcome = lanes.failed(lanes.unread(entry, user), f"cannot be analysed ({type(error).__name__}: {error})", True)
    finally:
        watch.cancel()
    return outcome, analyser.provider, len(analyser.detector.losses) + len(analyser.recogniser.losses)


PACKAGE, HERE = Path(__file__).parents[1], sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
# As this process loads them, whatever lies there later.
VERSION = workers.version(PACKAGE, [*(f"embed/{name}" for name in HERE), *BELOW])
# What a worker is asked first, which every Python understands: one that cannot read a task of ours says nothing at all.
FIRST = f"__import__('config') and __import__({__name__!r}, fromlist=['VERSION']).VERSION"
