"""calibrate: the distances that photos sorted into one folder per person give a model."""

from pathlib import Path

import numpy as np

from ..cluster.calibrate import Calibration, calibrate
from ..cluster.pool import clarity_of
from ..common.errors import Failure
from ..formats import cache
from ..formats.queue import Queue
from .hand_sorted import rows_by_folder


def people_of(faces: cache.Cache, queue: Queue, root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N,) of the faces below `root`, and whose they are (N,): the folder's if a photo shows one face, else -1.

    Who is who in a photo of several people, the folder does not say, nor whose one is that lies in two.
    """
    people, folders = np.zeros((2, len(faces.faces)), np.int64)
    for number, rows in enumerate(rows_by_folder(faces, queue, root).values()):
        people[rows] = number
        folders[rows] += 1
    of_photo = faces.faces["photo"]
    alone = np.bincount(of_photo)[of_photo] == 1
    rows = np.flatnonzero(folders)
    return rows, np.where(alone & (folders == 1), people, -1)[rows]


def distances(faces: cache.Cache, queue: Queue, root: Path, most: tuple[float, float]) -> Calibration:
    """The distances that the labelled folder `root` supports, no looser than `most` if these are too few to tell.

    Raises Failure where it holds fewer people than say anything at all."""
    rows, people = people_of(faces, queue, root)
    try:
        return calibrate(faces.embeddings[rows], people, faces.faces["photo"][rows], clarity_of(faces.norms)[rows],
                         most=most)
    except ValueError as error:
        raise Failure(f"{root}: {error}; put each person's photos into a folder of their own") from None


def setting(found: Calibration, model: cache.Model) -> str:
    """The entry of MODELS in facesets/formats/distances.py that records what was found."""
    return (f'"{model.sha256}": Thresholds({found.known_distance:g}, {found.cluster_distance:g}, "calibrated with '
            f'{model.name}"),')
