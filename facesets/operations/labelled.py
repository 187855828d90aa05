"""calibrate: a folder with one folder per person, as rows and labels for facesets.cluster.calibrate."""

from pathlib import Path

import numpy as np

from ..cluster.calibrate import Calibration, calibrate
from ..cluster.pool import clarity_of
from ..common.errors import Failure
from ..formats import cache


def people_of(faces: cache.Cache, root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N,) of the faces below `root`, and whose they are (N,): the folder's if a photo shows one face, else -1.

    Who is who in a photo of several people, the folder does not say.
    """
    photos = {number: Path(photo.path).relative_to(root).parts[0] for number, photo in enumerate(faces.photos)
              if Path(photo.path).is_relative_to(root) and len(Path(photo.path).relative_to(root).parts) > 1}
    rows = np.array([row for row, number in enumerate(faces.faces["photo"].tolist()) if number in photos], np.int64)
    number = {name: place for place, name in enumerate(sorted(set(photos.values())))}
    of_photo = faces.faces["photo"][rows]
    alone = np.bincount(of_photo, minlength=len(faces.photos))[of_photo] == 1
    people = np.array([number[photos[photo]] for photo in of_photo.tolist()], np.int64)
    return rows, np.where(alone, people, -1)


def distances(faces: cache.Cache, root: Path) -> Calibration:
    """The distances that the labelled folder `root` supports. Raises Failure where it holds too few people."""
    rows, people = people_of(faces, root)
    try:
        return calibrate(faces.embeddings[rows], people, faces.faces["photo"][rows], clarity_of(faces.norms)[rows])
    except ValueError as error:
        raise Failure(f"{root}: {error}; put each person's photos into a folder of their own") from None


def setting(found: Calibration, model: cache.Model) -> str:
    """The entry of MODELS in facesets/formats/distances.py that records what was found."""
    return (f'"{model.sha256}": Thresholds({found.known_distance:g}, {found.cluster_distance:g}, "calibrated with '
            f'{model.name}"),')
