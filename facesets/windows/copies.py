"""Copies that are whole or absent, and what must lie on the Windows side: the worker part and the model pack.

What is there already is compared by its SHA-256; models and caches carry sums of their own, which are held to be read.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..common import files
from ..common.errors import Failure, Paused, of_disk

# The worker part: what embed_worker.py and a task of clustering import, and nothing else. These may import each other
# and the packages of requirements-win.txt only: tests/windows/test_driver_worker_part.py imports them in a bare folder.
WORKER_PART = ("embed_worker.py", "config.py", "requirements-win.txt", "requirements-cluster.txt",
               "facesets/__init__.py", "facesets/common/__init__.py", "facesets/common/connect.py",
               "facesets/common/errors.py", "facesets/common/files.py", "facesets/common/terminal.py",
               "facesets/common/threads.py", "facesets/common/workers.py",
               "facesets/formats/__init__.py", "facesets/formats/boxes.py",
               "facesets/formats/cache.py", "facesets/formats/distances.py", "facesets/formats/quality.py",
               "facesets/formats/queue.py", "facesets/embed/*.py", "facesets/cluster/__init__.py",
               "facesets/cluster/dense.py", "facesets/cluster/known.py", "facesets/cluster/linkage.py",
               "facesets/cluster/machines.py", "facesets/cluster/neighbours.py", "facesets/cluster/tasks.py",
               "facesets/cluster/tiles.py")


def worker_part(checkout: Path) -> list[Path]:
    """The files of the worker part, relative to `checkout`. Raises Failure where one is missing."""
    found = []
    for pattern in WORKER_PART:
        matches = sorted(path.relative_to(checkout) for path in checkout.glob(pattern) if path.is_file())
        if not matches:
            raise Failure(f"{checkout / pattern} is missing; get the whole checkout again")
        found += matches
    return found


def carry_worker(checkout: Path, folder: Path) -> int:
    """Make `folder` hold the worker part and nothing else. Returns how many files had to be copied."""
    part = worker_part(checkout)
    copied = sum(copy(checkout / name, folder / name) for name in part)
    with in_words(folder):
        for path in sorted(folder.rglob("*"), reverse=True):    # a module that is gone here must not be imported there
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(folder) not in part:
                path.unlink()
    return copied


def carry_pack(source: Path, folder: Path) -> int:
    """Copy the model pack `source` (a folder of .onnx files) to `folder`. Returns how many files had to be copied."""
    models = sorted(source.glob("*.onnx"))
    if not models:
        raise Failure(f"{source} holds no .onnx file, so it is no model pack")
    return sum(copy(path, folder / path.name) for path in models)


def copy(source: Path, target: Path) -> bool:
    """Make `target` equal to `source`, whole or not at all. Returns False where it was equal already.

    Raises Paused, in words, for a drive that is full, gone or read-only and for a file that stays open.
    """
    with in_words(target):
        if (target.is_file() and target.stat().st_size == source.stat().st_size
                and files.sha256_of(target) == files.sha256_of(source)):
            return False
        with open(source, "rb") as original, files.replacing(target) as file:
            shutil.copyfileobj(original, file, files.CHUNK)
        return True


@contextmanager
def in_words(target: Path) -> Iterator[None]:
    """Say what a drive did to `target`, and that the same command goes on."""
    try:
        yield
    except PermissionError as error:
        raise Paused(f"{error.filename or target} is held open by a Windows program, or is not ours to write; close "
                     "what uses it, then run the same command again") from None
    except OSError as error:
        raise Paused(str(of_disk(error, target))) from None
