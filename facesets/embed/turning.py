"""Photos that lie on their side or upside down and do not say so: looked at again where no face is clear and upright.

The raw norm of an embedding tells how much the recogniser makes of a face. Of one upside down it makes little, and the
landmarks of one on its side say so. How much is much belongs to the model, so it is the median of the cache, once all
photos were looked at: in whatever order they came and however often the run was stopped, the same ones are looked at
again. `benchmarks/embed_more.py turned` says how many are set right, and at what cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..formats import cache
from ..formats.cache import Photo
from ..formats.queue import Entry, Queue
from .analyser import Analyser
from .lanes import Outcome, face_expected, faces_in
from .parts import Parts

CLEAR = 0.75        # of the median norm
FAINT = 0.5         # of the median norm; less is no proof of a direction
UPRIGHT = 45.0      # degrees of roll; beyond, another direction is nearer


def clearest(norms: np.ndarray, roll: np.ndarray) -> float:
    """Norm of the clearest upright face of a photo with faces of these norms (n,) and rolls (n,); 0 without one."""
    return float(norms[np.abs(roll) <= UPRIGHT].max(initial=0))


def unclear(parts: Parts, queue: Queue) -> dict[str, float]:
    """SHA-256 -> norm that an upright face must have from another side, of the photos to look at again.

    Photos of the cache that the parts go into were asked before they were folded, unless that was before anybody asked.
    Parts of turned photos, which a run that was stopped left, are done, and no first look.
    """
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}    # norms and FACE rows of each photo at the first look
    sizes: dict[str, tuple[int, int]] = {}                  # (height, width) of the photos to ask
    done: set[str] = set()
    for path in parts.written:
        part = cache.read(path)
        turned = {photo.sha256 for photo in part.photos if photo.turn}
        done |= turned
        if path != parts.out and turned:
            continue
        rows = cache.rows_of(part)
        for photo in part.photos:
            mine = rows.get(photo.sha256, [])
            found[photo.sha256] = part.norms[mine], part.faces[mine]
            if photo.status != "error" and (path != parts.out or not part.queue):
                sizes[photo.sha256] = photo.height, photo.width
    norms = [of_photo for of_photo, _ in found.values() if len(of_photo)]
    median = float(np.median(np.concatenate(norms))) if norms else 0.0
    asked = {}
    for entry in queue.entries:
        if entry.sha256 in sizes and entry.sha256 not in done:
            of_photo, faces = found[entry.sha256]
            norm = clearest(of_photo, faces["roll"])
            if norm < CLEAR * median and (len(faces) or face_expected(entry, *sizes[entry.sha256])):
                asked[entry.sha256] = max(norm, FAINT * median)
    return asked


@dataclass(frozen=True)
class OtherDirections:
    """Looks at a photo from all sides; the one with the clearest upright face, if it is clearer than before, is up."""

    asked: Mapping[str, float]

    def __call__(self, entry: Entry, photo: Photo, bgr: np.ndarray, analyser: Analyser) -> Outcome:
        best = max((_faces(photo, bgr, turn, analyser) for turn in (1, 2, 3)), key=_clearest)
        if _clearest(best) <= self.asked[entry.sha256]:
            return Outcome(photo)
        now = _faces(photo, bgr, 0, analyser)   # what the cache holds, and the faces of whoever was forgotten
        return best if _clearest(best) > _clearest(now) else Outcome(photo)

    def only(self, entry: Entry) -> "OtherDirections":
        """What another machine needs for that photo."""
        return OtherDirections({entry.sha256: self.asked[entry.sha256]})


def _clearest(outcome: Outcome) -> float:
    return clearest(np.linalg.norm(outcome.raw, axis=1), outcome.faces["roll"])


def _faces(photo: Photo, bgr: np.ndarray, turn: int, analyser: Analyser) -> Outcome:
    """The faces of a photo as they are seen when it is turned, recognised."""
    found = faces_in(photo, bgr, analyser, turn=turn)
    found.raw, found.crops = analyser.recognise(found.crops), found.crops[:0]
    return found
