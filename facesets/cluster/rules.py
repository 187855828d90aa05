"""What decides who is one person: every threshold of clustering as a plain value.

Distances are cos-dist and belong to the recogniser; shares are of its known_distance, so that they move with it. The
*clarity* of a face is the norm of its raw embedding over the median of the library: a recogniser gives a short vector
to what it cannot see well. A clear face of a person is near; a dim one may be far and right, and tells little.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..formats.cache import Model


@dataclass(frozen=True)
class Rules:
    """Those that can be set have their reasons in config.py, and all of them their worth in docs/identities.md."""

    known_distance: float = 0.45        # from a centroid to a face of that person of middling clarity
    cluster_distance: float = 0.55      # where average linkage stops
    known_margin: float = 0.05          # by which the next identity must be farther
    clear_closer: float = 0.18          # share by which the clearest face must be nearer
    dim_farther: float = 0.05           # share by which the dimmest may be farther
    linked_closer: float = 0.27         # share by which two of the clearest must be nearer to be linked, or one known
    merge_closer: float = 0.36          # share by which the centroids of two identities must be nearer to be one
    overlap_years: int = 2              # around one where two times meet: its faces show whether they are one person
    several_closer: float = 0.24        # share by which two or three leftovers together must be nearer to join
    few_closer: float = 0.4             # share by which they must be to a single face; to five, a sixth of it
    alone_farther: float = 0.1          # share by which a face may be farther that no other is near to
    alone_margin: float = 0.25          # by which the next identity must be farther then
    twin_photos: int = 4                # from so many photos of two of its faces on an identity may be two people
    twin_likeness: float = 0.78         # and is, if they are less alike across than within by this share
    min_clarity: float = 0.6            # a dimmer face takes no part
    telling_clarity: float = 0.7        # a dimmer face makes no faceset large enough, and no dimmer one may be farther
    founding_clarity: float = 0.85      # a dimmer face founds no identity, it may join one
    full_clarity: float = 1.1           # no face tells more
    join_faces: int = 3                 # clusters of up to so many faces count as leftovers
    photo_penalty: float = 0.25         # similarity lost when every face of the smaller cluster shares a photo
    photo_veto: float = 0.1             # share of shared photos from which on two clusters are two people
    veto_photos: int = 2                # and at least so many
    min_faces: int = 6
    min_thin: int = 3                   # fewer faces than this are nobody in particular, not a thin faceset
    duplicate_similarity: float = 0.95  # from which on two faces show one moment
    min_score: float = 0.5              # the detector's, 0..1
    min_short: float = 25.0             # pixels

    @classmethod
    def of(cls, settings: Any, model: Model, duplicate_similarity: float) -> "Rules":
        """The section `Clustering` of the settings, with the model's own distances where none are set."""
        same = {item.name: getattr(settings, item.name) for item in fields(cls) if hasattr(settings, item.name)}
        known, apart = settings.known_distance, settings.cluster_distance
        return cls(**{**same, "known_distance": model.known_distance if known is None else known,
                      "cluster_distance": model.cluster_distance if apart is None else apart,
                      "duplicate_similarity": duplicate_similarity})

    def clear(self, clarity: np.ndarray) -> np.ndarray:
        """(N,) from 0 for the dimmest faces to 1 for the clearest."""
        return np.clip((clarity - self.telling_clarity) / (self.full_clarity - self.telling_clarity), 0, 1)

    def near(self, clear: Any) -> Any:
        """(N,) cos-dist to a centroid within which faces that are so clear are that person's."""
        return self._within(clear, self.clear_closer)

    def known(self, clear: Any) -> Any:
        """(N,) the same to a faceset that exists: nearer, as whoever has none yet cannot be the next nearest."""
        return self._within(clear, self.linked_closer)

    def _within(self, clear: Any, closer: float) -> Any:
        return self.known_distance * (1 + self.dim_farther - (self.dim_farther + closer) * clear)

    def joins(self, clear: np.ndarray, together: np.ndarray, size: np.ndarray) -> np.ndarray:
        """(N,) cos-dist to the centroid of `size` faces within which so many leftovers, so clear, are that person's."""
        near = self.near(clear)
        near = np.where(together > 1, np.minimum(near, self.known_distance * (1 - self.several_closer)), near)
        return np.asarray(near * (1 - self.few_closer / (size + 1)))

    @property
    def strictness(self) -> float:
        """What a clear face brings along: two of them are linked only if they are more alike by its square."""
        return (self.linked_closer * self.known_distance) ** 0.5

    @property
    def merge_distance(self) -> float:
        """cos-dist of the centroids of two identities that are one person."""
        return self.known_distance * (1 - self.merge_closer)
