"""A file of any kind to upright pixels, or to the reason why not.

JPEG and PNG, nearly every photo there is, go through OpenCV, which is twice as fast as Pillow plus a change of channel
order and gives the same pixels; everything else, and whatever OpenCV refuses, goes through Pillow with pillow-heif.
The rotation is applied once: by OpenCV, by libheif, or by `exif_transpose`. Colour profiles are not applied, because
InsightFace's own reading does not apply them either; transparency is dropped; of an animation the first frame counts.
"""

import io
import os
import stat
import threading
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from ..common import terminal
from ..formats.queue import PICTURES

MAX_PIXELS = 200_000_000    # phones make 16320 x 12240; decoded that is 600 MB
MAX_BYTES = 500_000_000     # no photo; a raw scan or a film
HUGE_PIXELS = 40_000_000    # one photo larger than this at a time, so that memory does not grow with the lanes
MAX_SCANS = 200             # of a progressive JPEG; encoders make about ten, a hostile file thousands, hours of work

_one_huge = threading.Lock()
pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = None   # Pillow's own limit is lower than what phones make; ours is looked at first
warnings.filterwarnings("ignore", module="PIL")     # the same: what matters becomes a reason
cv2.utils.logging.setLogLevel(0)     # what OpenCV cannot read, Pillow tries, and then the reason is told


class Unreadable(Exception):
    """This file gives no pixels; the message is the reason, in words, for the cache."""


class Vanished(Unreadable):
    """There is no such file, or nobody may open it: perhaps the share is not there."""


class TooSmall(Unreadable):
    """This machine has too little memory for it; another may have enough."""


def read_bytes(path: str | Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The whole file. Raises Vanished or Unreadable; never waits on a pipe or device."""
    try:
        about = os.stat(_long(path))
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("is a folder" if stat.S_ISDIR(about.st_mode) else "is no regular file")
        if about.st_size > max_bytes:
            raise Unreadable(f"{about.st_size >> 20} MB, more than {max_bytes >> 20} MB")
        if about.st_size == 0:
            raise Unreadable("is empty")
        with open(_long(path), "rb") as file:
            return file.read(max_bytes + 1)
    except PermissionError:
        raise Vanished("may not be read (permissions)") from None
    except FileNotFoundError:
        raise Vanished("is not there any more") from None
    except ValueError:
        raise Unreadable("has a path that no system takes") from None
    except OSError as error:
        raise Vanished(f"cannot be read: {error.strerror or error}") from None


def read_upright(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """(H, W, 3) uint8 BGR of the photo at `path`, upright. Raises Unreadable with the reason."""
    return decode(read_bytes(path), max_pixels)


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """(H, W, 3) uint8 BGR, upright, of the bytes of a file. Raises Unreadable with the reason."""
    try:
        return _decode(data, max_pixels)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable("is no picture that can be decoded here") from None
    except MemoryError:
        raise TooSmall("needs more memory than there is") from None
    except Exception as error:  # each decoder has errors of its own: SyntaxError, struct.error, EOFError, cv2.error ...
        raise Unreadable(f"cannot be decoded: {terminal.safe(' '.join(str(error).split()), 150)} "
                         f"({type(error).__name__})") from None


def header(source: Path | io.BytesIO) -> Image.Image:
    """A picture of which no pixel is decoded yet. Raises whatever Pillow and its plug-ins do; waits on no pipe."""
    if isinstance(source, Path) and not source.is_file():
        raise Vanished("is no regular file, or not there any more")
    return Image.open(source, formats=tuple(PICTURES))


def _decode(data: bytes, max_pixels: int) -> np.ndarray:
    picture = header(io.BytesIO(data))
    width, height = picture.size
    if width * height > max_pixels:
        raise Unreadable(f"{width}x{height} pixels, more than {max_pixels // 1_000_000} million")
    if picture.info.get("progressive") and data.count(b"\xff\xda") > MAX_SCANS:
        raise Unreadable(f"a progressive JPEG of more than {MAX_SCANS} scans")
    turn: AbstractContextManager[object] = _one_huge if width * height > HUGE_PIXELS else nullcontext()
    with turn:
        pixels = None
        if picture.format in ("JPEG", "MPO", "PNG") and not getattr(picture, "is_animated", picture.format == "MPO"):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return _through_pillow(picture) if pixels is None else pixels


def _through_pillow(picture: Image.Image) -> np.ndarray:
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith(("I", "F")):     # 16 and 32 bit grey, which Pillow would clip at 255
        grey = np.asarray(upright, np.float32)
        top = max(float(np.nan_to_num(grey, posinf=0.0).max()), 1.0)
        full = 255.0 if top <= 255 else 65535.0 if top <= 65535 else top
        eight = (np.nan_to_num(grey, posinf=full, neginf=0.0) * (255.0 / full)).clip(0, 255).astype(np.uint8)
        return cv2.cvtColor(eight, cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(np.asarray(upright.convert("RGB")), cv2.COLOR_RGB2BGR)


def _long(path: str | Path) -> str:
    """Windows takes more than 260 characters only with this prefix."""
    text = str(path)
    if os.name != "nt" or len(text) < 240 or text.startswith("\\\\?\\"):
        return text
    text = os.path.abspath(text)
    return "\\\\?\\UNC" + text[1:] if text.startswith("\\\\") else "\\\\?\\" + text
