"""Pictures of many faces of many photos, each photo decoded once, in bounded memory.

A decoded photo lives as long as its faces are cut out; `workers` photos are in memory at a time.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..common import files, terminal
from ..common.errors import Failure
from ..embed import decode
from . import crop

PNG_LEVEL = 3       # zlib: level 9 takes eight times as long for 2 % fewer bytes


@dataclass(frozen=True)
class Wish:
    """One face to make a picture of."""

    key: str
    box: tuple[float, float, float, float]
    others: tuple[tuple[float, ...], ...] = ()      # boxes of all faces that are known in the photo


@dataclass(frozen=True)
class Made:
    path: Path
    isolation: str
    light: tuple[float, float]


def render(wishes: dict[str, list[Wish]], folder: Path, detect: crop.Detect, size: int, padding: float,
           workers: int = 2, read: Callable[[str], np.ndarray] = decode.read_upright) -> dict[str, Made | str]:
    """Make the pictures of `wishes` (path of a photo -> faces in it) in `folder`.

    Returns face key -> the picture, or the reason why there is none. A full disk raises Failure.
    """
    files.private_folder(folder)
    results: dict[str, Made | str] = {}
    with (ThreadPoolExecutor(workers) as pool,
          terminal.progress(sum(map(len, wishes.values())), "pictures", "faces") as bar):
        running: set[Future[dict[str, Made | str]]] = set()
        try:
            for path, faces in wishes.items():
                if len(running) >= workers * 2:
                    running = _collect(running, results, bar.update)
                running.add(pool.submit(_photo, path, faces, folder, detect, size, padding, read))
            while running:
                running = _collect(running, results, bar.update)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


def _collect(running: set[Future[dict[str, Made | str]]], results: dict[str, Made | str],
             advance: Callable[[int], object]) -> set[Future[dict[str, Made | str]]]:
    done, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        made = future.result()
        results.update(made)
        advance(len(made))
    return rest


def _photo(path: str, faces: Iterable[Wish], folder: Path, detect: crop.Detect, size: int, padding: float,
           read: Callable[[str], np.ndarray]) -> dict[str, Made | str]:
    try:
        photo = read(path)
    except decode.Unreadable as reason:
        return {wish.key: f"the photo {reason}" for wish in faces}
    made: dict[str, Made | str] = {}
    for wish in faces:
        try:
            picture = crop.cut_out(photo, wish.box, detect, size, padding, wish.others)
        except crop.Dropped as reason:
            made[wish.key] = str(reason)
            continue
        place = folder / (hashlib.sha256(wish.key.encode()).hexdigest() + ".png")
        made[wish.key] = Made(place, picture.isolation, picture.light)
        _write_png(place, picture.pixels)
    return made


def _write_png(path: Path, pixels: np.ndarray) -> None:
    good, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not good:
        raise Failure(f"{path.name} could not be encoded as PNG")
    with open(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, files.FILE_MODE), "wb") as file:
        file.write(data.tobytes())
