"""From a list of photos to outcomes, as fast as the models and with bounded memory.

A lane is a thread that takes one photo at a time through reading, decoding, detection, alignment and recognition. On
the CPU there are as many lanes as cores and every step is single-threaded: two such lanes use two cores fully, where
one session with two threads leaves them waiting for each other at every layer. On a device one thread makes all the
calls, and the lanes that wait for it leave the cores to those that decode. A lane holds one photo's pixels, so memory
does not grow with the queue.
"""

import ctypes
import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from ..common import terminal
from ..common.errors import Paused
from ..common.threads import cores, in_lanes
from ..formats import quality
from ..formats.boxes import turned
from ..formats.cache import FACE, Cache, Model, Photo
from ..formats.queue import Entry
from . import align, decode, pose
from .analyser import Analyser

SECOND_MARGIN = 0.6     # of the longer side, black around the photo at the second look
BIG_FACE = 90           # pixels of the shorter side of Immich's box from which a missed face is looked for again
KEPT = 512 << 20        # bytes of free memory that stay with the process
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8     # of malloc.h
Mark = Callable[[Entry], AbstractContextManager[object]]
IN_A_ROW = 12           # photos that cannot be opened one after the other: perhaps the share is gone, not the photos
PROBES = 24             # other photos, from all over the queue, of which one that can be read tells that it is there


@dataclass
class Outcome:
    """What became of one photo."""

    photo: Photo
    faces: np.ndarray = field(default_factory=lambda: np.zeros(0, FACE))                    # (n,)
    crops: np.ndarray = field(default_factory=lambda: np.zeros((0, 112, 112, 3), np.uint8))     # not yet recognised
    raw: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))           # (n, D)
    second_look: bool = False       # the faces were found only with the photo padded
    suspect: bool = False           # an error that may be of the machine rather than of the photo


Find = Callable[[Entry, Photo, np.ndarray, Analyser], Outcome]      # an entry, what is known of its photo, its pixels


def outcomes(entries: Sequence[Entry], analyser: Analyser, lanes: int = 0, user: str = "",
             mark: Mark = nullcontext, others: Sequence[Entry] = (),
             find: Find | None = None) -> Generator[Outcome, None, None]:
    """What became of every entry, in the order they are ready; the lanes end when the iterator is closed.

    `lanes` 0 means as many as pay. `mark` surrounds the work on a photo, `find` (`first_look`) does it. Raises Paused
    where photos cannot be opened any more, none of `others` either.
    """
    def work(entry: Entry) -> Outcome:
        with mark(entry):
            outcome = look(entry, analyser, user, find)
        return next(recognised([outcome], analyser)) if analyser.batch == 1 else outcome

    one_thread_each()
    with closing(in_lanes(work, entries, lanes or default_lanes(analyser.provider))) as arriving:
        yield from trusted(recognised(arriving, analyser), others, analyser)


def recognised(arriving: Iterable[Outcome], analyser: Analyser) -> Iterator[Outcome]:
    """The outcomes with the embeddings of their crops; the faces of several photos share a call of the recogniser."""
    waiting: deque[Outcome] = deque()
    crops: list[np.ndarray] = []
    vectors: list[np.ndarray] = []

    def recognise(count: int) -> Iterator[Outcome]:
        if count:
            vectors.extend(analyser.recognise(np.stack(crops[:count])))
            del crops[:count]
        while waiting and len(vectors) >= len(waiting[0].faces):
            outcome = waiting.popleft()
            n = len(outcome.faces)
            outcome.raw, outcome.crops = np.stack(vectors[:n]), outcome.crops[:0]
            del vectors[:n]
            yield outcome

    for outcome in arriving:
        if not len(outcome.crops):
            yield outcome
            continue
        waiting.append(outcome)
        crops.extend(outcome.crops)
        yield from recognise(len(crops) // analyser.batch * analyser.batch)
    yield from recognise(len(crops))


def default_lanes(provider: str) -> int:
    """One a core on the CPU; where others compute, more, since a lane that waits for them uses no core."""
    return cores() + {"cpu": 0, "openvino": 1}.get(provider, 2)


def one_thread_each() -> None:
    """A lane is one thread; OpenCV's own would compete with the other lanes."""
    cv2.setNumThreads(1)
    keep_large_buffers()


def keep_large_buffers() -> None:
    """Let one photo's memory serve the next; benchmarks/embed_more.py tried says what that gives.

    glibc gives every block over 32 MB back to the kernel, which then clears 36 MB page by page for the next photo; so:
    no separate mappings, one arena, and up to KEPT bytes stay with the process.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        for parameter, value in ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT)):
            mallopt(parameter, value)


def as_cache(done: Sequence[Outcome], model: Model) -> Cache:
    """The outcomes as a cache of their own. A face whose embedding is no number is left out."""
    faces, raws = [], []
    for index, outcome in enumerate(done):
        raw = outcome.raw.reshape(-1, model.dimension)
        norms = np.linalg.norm(raw, axis=1)
        sound = np.isfinite(norms) & (norms > 0)
        outcome.faces["photo"] = index
        faces.append(outcome.faces[sound])
        raws.append(raw[sound])
    raw = np.concatenate([np.zeros((0, model.dimension), np.float32), *raws])
    norms = np.linalg.norm(raw, axis=1).astype(np.float32)
    return Cache(model, [outcome.photo for outcome in done], np.concatenate([np.zeros(0, FACE), *faces]),
                 raw / norms[:, None], norms)


def trusted(arrivals: Iterator[Outcome], others: Sequence[Entry], analyser: Analyser) -> Iterator[Outcome]:
    """Hold suspect errors back until another photo goes well; where none of `others` does, the machine is to blame."""
    def works() -> bool:
        return any(not look(entry, analyser).suspect for entry in others[::len(others) // PROBES + 1])

    held: list[Outcome] = []
    for outcome in arrivals:
        held.append(outcome)
        if outcome.suspect and len(held) == IN_A_ROW and not works():
            raise Paused(f"{IN_A_ROW} photos in a row failed, the last because {outcome.photo.path} "
                         f"{outcome.photo.reason}; is the share mounted? Everything before them is saved; "
                         "mend it and run the same command again")
        if not outcome.suspect or len(held) == IN_A_ROW:
            yield from held
            held.clear()
    yield from held


def look(entry: Entry, analyser: Analyser, user: str = "", find: Find | None = None,
         data: bytes | None = None) -> Outcome:
    """Decode, detect and align one photo, read first unless `data` is given; an error becomes the outcome."""
    photo = unread(entry, user)
    try:
        bgr = decode.decode(read(entry, data))
        photo = replace(photo, height=bgr.shape[0], width=bgr.shape[1])
        return (find or first_look)(entry, photo, bgr, analyser)
    except decode.Unreadable as error:
        return unreadable(photo, error)
    except Exception as error:      # OpenCV or onnxruntime on a picture nobody thought of: no reason to end the run
        return failed(photo, f"cannot be analysed ({type(error).__name__}: {error})", suspect=True)


def read(entry: Entry, data: bytes | None = None) -> bytes:
    """Its file, unless `data` is given, which must be that. Raises Unreadable."""
    if data is None:
        data = decode.read_bytes(entry.win_path if os.name == "nt" and entry.win_path else entry.path)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise decode.Unreadable("has changed since it was staged")
    return data


def first_look(entry: Entry, photo: Photo, bgr: np.ndarray, analyser: Analyser) -> Outcome:
    """The faces of a photo (H, W, 3); where there is none that should be there, those that it shows padded."""
    found = faces_in(photo, bgr, analyser)
    if not len(found.faces) and face_expected(entry, *bgr.shape[:2]):
        found = faces_in(photo, bgr, analyser, SECOND_MARGIN)
        found.second_look = bool(len(found.faces))
    return found


def faces_in(photo: Photo, bgr: np.ndarray, analyser: Analyser, margin: float = 0.0, turn: int = 0) -> Outcome:
    """The faces of a photo (H, W, 3) as they are seen with a margin, or when it is turned, and their crops; boxes and
    landmarks as they are in the photo itself."""
    boxes, scores, landmarks = analyser.detect(bgr, margin, turn=turn)
    if not len(boxes):
        return Outcome(photo)
    faces, crops = np.zeros(len(boxes), FACE), align.crops(bgr, landmarks)
    faces["box"], faces["det_score"] = boxes, scores
    faces["face_short"] = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    faces["blur"] = align.blur(crops)
    faces["landmarks"] = turned(landmarks, turn, (bgr.shape[1], bgr.shape[0]))
    faces["yaw"], faces["pitch"], faces["roll"] = pose.angles(faces["landmarks"]).T
    faces["quality"] = quality.score(faces)
    faces["landmarks"] = landmarks
    return Outcome(replace(photo, status="faces", turn=turn), faces, crops)


def unreadable(photo: Photo, error: decode.Unreadable) -> Outcome:
    return failed(photo, str(error), isinstance(error, decode.Vanished | decode.TooSmall))


def failed(photo: Photo, reason: str, suspect: bool) -> Outcome:
    return Outcome(replace(photo, status="error", reason=terminal.safe(reason)), suspect=suspect)


def unread(entry: Entry, user: str = "") -> Photo:
    return Photo(entry.path, entry.sha256, taken_at=entry.taken_at, width=entry.width, height=entry.height,
                 source=entry.source, asset_id=entry.asset_id, user=user)


def face_expected(entry: Entry, height: int, width: int) -> bool:
    """Whether Immich saw a big face in a photo of this size; of the operator's own folders nobody says, so yes."""
    return not entry.asset_id or any(min((face.box[2] - face.box[0]) * width, (face.box[3] - face.box[1]) * height)
                                     >= BIG_FACE for face in entry.faces)
