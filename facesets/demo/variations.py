"""Another photo of the same person, out of one portrait: as if taken from elsewhere, in other light, by another camera.

Pictures are (H, W, 3) uint8 BGR. The same seed gives the same picture. At strength 0.8 two variations of one portrait
have an SFace cosine of about 0.8 (0.5 to 0.94), like real photos of one day; the faces are never mirrored, since a
mirrored face is another one.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
from PIL import Image

from ..common import files

STRENGTH = 0.8
# orientation -> what makes the stored picture of the upright one
UNTURNED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
ORIENTATION, MAKE, MODEL, DATE, DATE_TAKEN, OFFSET = 0x0112, 0x010F, 0x0110, 0x0132, 0x9003, 0x9011
EXIF_PART = 0x8769


def vary(picture: np.ndarray, seed: int, strength: float = STRENGTH) -> np.ndarray:
    """`picture` from another angle and distance, in other light, with noise and sometimes out of focus or grey."""
    draw = np.random.default_rng(seed)
    out = _seen_from(picture, draw, strength).astype(np.float32)
    out = _lit(out, draw, strength)
    out *= draw.uniform(0.75, 1.2, 3).astype(np.float32) ** strength       # colour of the light
    if seed % 6 == 0:
        out[:] = out.mean(axis=2, keepdims=True)
    if seed % 4 == 1:
        out[:] = cv2.GaussianBlur(out, (0, 0), draw.uniform(0.6, 2.0) * strength)
    out += draw.uniform(2, 12) * strength * draw.standard_normal(out.shape, np.float32)
    return np.clip(out, 0, 255).astype(np.uint8)


def faded(picture: np.ndarray, share: float) -> np.ndarray:
    """As an old print is: grey, unsharp and pale."""
    small = cv2.resize(picture, None, fx=0.14, fy=0.14, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC), cv2.COLOR_BGR2GRAY)
    return cv2.addWeighted(picture, 1 - share, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), 0.4 * share, 120 * share)


def beside(pictures: Sequence[np.ndarray], height: int = 640) -> tuple[np.ndarray, list[int]]:
    """One picture of several people, and the x where each one's part ends."""
    parts = [cv2.resize(one, (round(one.shape[1] * height / one.shape[0]), height), interpolation=cv2.INTER_AREA)
             for one in pictures]
    return np.hstack(parts), np.cumsum([part.shape[1] for part in parts]).tolist()


def far_away(picture: np.ndarray, scene: np.ndarray, face: float = 0.12) -> np.ndarray:
    """`picture` small in a corner of `scene`: a person whose face is too small to use."""
    out = scene.copy()
    scale = face * out.shape[0] / picture.shape[0] * 2
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    out[-small.shape[0]:, :small.shape[1]] = small
    return out


def save(picture: np.ndarray, path: Path, *, taken: str, camera: tuple[str, str], orientation: int = 1,
         quality: int = 85) -> None:
    """Write `picture` in the format that the name says, with EXIF; turned so that `orientation` makes it upright."""
    image = Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    if orientation in UNTURNED:
        image = image.transpose(UNTURNED[orientation])
    exif = Image.Exif()
    exif[MAKE], exif[MODEL] = camera
    exif[DATE] = taken
    exif.get_ifd(EXIF_PART).update({DATE_TAKEN: taken, OFFSET: "+00:00"})
    if orientation != 1:
        exif[ORIENTATION] = orientation
    out = io.BytesIO()
    if path.suffix.lower() == ".heic":
        pillow_heif.from_pillow(image).save(out, quality=quality, exif=exif.tobytes())
    elif path.suffix.lower() == ".png":
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, "JPEG", quality=quality, exif=exif)
    files.write_bytes(path, out.getvalue())


def _seen_from(picture: np.ndarray, draw: np.random.Generator, strength: float) -> np.ndarray:
    """Turned, tilted and sheared, 0.55 to 1 times as large."""
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + draw.uniform(-0.11, 0.11, (4, 2)).astype(np.float32) * strength * (width, height)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), draw.uniform(-22, 22) * strength, 1)
    moved = cv2.transform(moved[None], turn)[0]
    moved[:, 0] += (moved[:, 1] - height / 2) * draw.uniform(-0.18, 0.18) * strength
    scale = draw.uniform(0.55, 1)
    matrix = cv2.getPerspectiveTransform(corners, (moved * scale).astype(np.float32))
    return cv2.warpPerspective(picture, matrix, (round(width * scale), round(height * scale)), flags=cv2.INTER_AREA,
                               borderMode=cv2.BORDER_REFLECT_101)


def _lit(picture: np.ndarray, draw: np.random.Generator, strength: float) -> np.ndarray:
    """Light from one side, and another exposure; float32 in and out."""
    height, width = picture.shape[:2]
    angle, power = draw.uniform(0, 2 * np.pi), draw.uniform(0.5, 1.6) * strength
    across = np.cos(angle) * (np.arange(width, dtype=np.float32) / width - 0.5)
    down = np.sin(angle) * (np.arange(height, dtype=np.float32) / height - 0.5)
    lit = picture * np.exp(2 * power * (across[None, :] + down[:, None]))[..., None]
    return 255 * (np.clip(lit, 0, 255) / 255) ** float(np.exp(draw.uniform(-0.6, 0.6) * strength))
