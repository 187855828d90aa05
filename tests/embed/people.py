"""A small library of real photos that every machine has: cut out of the one photo that InsightFace's package brings."""

import functools
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from facesets.common import files
from facesets.formats import queue as queues

GROUP = Path(find_spec("insightface").origin).parent / "data/images/t1.jpg"       # six people side by side


def photos(folder: Path, count: int) -> list[Path]:
    """`count` different JPEG files of `folder` with up to six faces each; every fifth shows nobody."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(photo(number))
    return paths


@functools.cache
def photo(number: int) -> bytes:
    group, random = cv2.imread(str(GROUP)), np.random.default_rng(number)
    width = group.shape[1]
    left, scale = int(random.integers(0, width // 2)), 0.6 + 0.4 * float(random.random())
    picture = group[:, left:left + width // 2] if number % 5 else np.full((300, 400, 3), number % 250, np.uint8)
    smaller = cv2.resize(picture, None, fx=scale, fy=scale)
    return cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def entry(path: Path, number: int = 0, **options) -> queues.Entry:
    sha256, size = (files.sha256_of(path), path.stat().st_size) if path.is_file() else (f"{number:064x}", 0)
    return queues.Entry(f"asset-{number}", str(path), "", sha256, size, **options)


def queue(paths: list[Path], user: str = "peter") -> queues.Queue:
    return queues.Queue(user, "https://photos.example.org", tuple(entry(path, n) for n, path in enumerate(paths)))
