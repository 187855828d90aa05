"""A small library of real photos that every machine has: cut out of the one photo that InsightFace's package brings."""

from pathlib import Path

import cv2
import insightface
import numpy as np

from facesets.common import files
from facesets.formats import queue as queues

GROUP = Path(insightface.__file__).parent / "data/images/t1.jpg"       # six people side by side


def photos(folder: Path, count: int) -> list[Path]:
    """`count` different JPEG files of `folder` with up to six faces each; every fifth shows nobody."""
    folder.mkdir(parents=True, exist_ok=True)
    group, random, paths = cv2.imread(str(GROUP)), np.random.default_rng(7), []
    width = group.shape[1]
    for number in range(count):
        left = int(random.integers(0, width // 2))
        picture = group[:, left:left + width // 2] if number % 5 else np.full((300, 400, 3), number % 250, np.uint8)
        scale = 0.6 + 0.4 * float(random.random())
        path = folder / f"{number:04d}.jpg"
        cv2.imwrite(str(path), cv2.resize(picture, None, fx=scale, fy=scale), [cv2.IMWRITE_JPEG_QUALITY, 90])
        paths.append(path)
    return paths


def entry(path: Path, number: int = 0, **options) -> queues.Entry:
    sha256, size = (files.sha256_of(path), path.stat().st_size) if path.is_file() else (f"{number:064x}", 0)
    return queues.Entry(f"asset-{number}", str(path), "", sha256, size, **options)


def queue(paths: list[Path], user: str = "peter") -> queues.Queue:
    return queues.Queue(user, "https://photos.example.org", tuple(entry(path, n) for n, path in enumerate(paths)))
