"""Every kind of file that a photo library can hold, and what has to become of each.

`make(folder, photo)` writes them all. `outcome` is "pixels" or the words that the reason must hold.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageOps

pillow_heif.register_heif_opener()


@dataclass(frozen=True)
class Case:
    path: Path
    outcome: str        # "pixels", or words of the reason
    like: bool = True   # the pixels are those of the photo, upright


def make(folder: Path, photo: Image.Image) -> list[Case]:
    """All cases; `photo` is any upright RGB photo, larger on one side."""
    folder.mkdir(exist_ok=True)
    cases = []
    for name, data, outcome, like in [*_truncated(photo), *_colours(photo), *_moving(photo), *_turned(photo),
                                      *_hostile(photo), *_names(photo)]:
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)
        cases.append(Case(path, outcome, like))
    return [*cases, *_no_files(folder)]


Rows = Iterator[tuple[str, bytes, str, bool]]


def saved(photo: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    photo.save(data, kind, **options)
    return data.getvalue()


def jpeg(photo: Image.Image, **options: object) -> bytes:
    return saved(photo, "JPEG", quality=95, subsampling=0, **options)


def _truncated(photo: Image.Image) -> Rows:
    whole = jpeg(photo)
    for number in range(20):
        cut = max(len(whole) * number // 20, 1)
        yield f"cut{number:02d}.jpg", whole[:cut], "truncated|no picture|decoded", False
    for kind in ("PNG", "WEBP", "HEIF", "AVIF", "GIF", "TIFF"):
        data = saved(photo, kind)
        yield f"cut.{kind.lower()}", data[:len(data) * 2 // 3], "truncated|no picture|decoded", False
    yield "rubbish.jpg", whole[:600] + bytes(range(256)) * 40, "truncated|no picture|decoded", False


def _colours(photo: Image.Image) -> Rows:
    grey = np.asarray(photo.convert("L"))
    yield "cmyk.jpg", jpeg(photo.convert("CMYK")), "pixels", True
    yield "grey.jpg", jpeg(photo.convert("L")), "pixels", True
    yield "progressive.jpg", jpeg(photo, progressive=True), "pixels", True
    yield "grey16.png", saved(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"), "pixels", True
    yield "grey16.tiff", saved(Image.fromarray(grey.astype(np.uint16) * 257), "TIFF"), "pixels", True
    yield "float.tiff", saved(Image.fromarray(grey.astype(np.float32)), "TIFF"), "pixels", True
    yield "rgb16.png", _png16(np.asarray(photo).astype(">u2") * 257), "pixels", True
    yield "palette.png", saved(photo.quantize(256), "PNG"), "pixels", True
    yield "two-colours.png", saved(photo.convert("1"), "PNG"), "pixels", True
    yield "alpha.png", saved(photo.convert("RGBA"), "PNG"), "pixels", True
    yield "grey-alpha.png", saved(photo.convert("LA"), "PNG"), "pixels", True
    yield "lab.tiff", saved(photo.convert("LAB"), "TIFF"), "pixels", False
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("JPEG", "PNG", "WEBP", "HEIF", "AVIF"):
        yield f"icc.{kind.lower()}", saved(photo, kind, icc_profile=profile, quality=95), "pixels", True
    yield "broken-icc.jpg", jpeg(photo, icc_profile=b"no profile" * 20), "pixels", True


def _moving(photo: Image.Image) -> Rows:
    frames = [photo, ImageOps.mirror(photo), ImageOps.flip(photo)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF", "AVIF", "HEIF"):
        yield f"moving.{kind.lower()}", saved(frames[0], kind, save_all=True, append_images=frames[1:]), "pixels", True
    yield "moving.mpo", saved(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=95), "pixels", True


def _turned(photo: Image.Image) -> Rows:
    """All eight EXIF orientations, and the rotation boxes of HEIC and AVIF, which stand beside the EXIF tag."""
    undo = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}
    for number in range(1, 9):
        tags = Image.Exif()
        tags[0x0112] = number
        stored = photo.transpose(undo[number]) if number in undo else photo
        for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
            yield f"turned{number}.{kind.lower()}", saved(stored, kind, exif=tags, quality=95), "pixels", True
        if number != 1:     # HEIC: the box counts; the tag that phones write beside it must not turn it again
            yield f"turned{number}.heic", _heic(stored, number), "pixels", True
    yield "tag-without-box.heic", saved(photo, "HEIF", exif=tags, quality=95), "pixels", True
    wild = Image.Exif()
    wild[0x0112] = 99
    yield "turned99.jpg", jpeg(photo, exif=wild), "pixels", True


def _hostile(photo: Image.Image) -> Rows:
    yield "empty.jpg", b"", "empty", False
    yield "text.jpg", b"<html>login</html>" * 40, "no picture", False
    yield "zeros.jpg", bytes(5000), "no picture", False
    yield "program.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "no picture", False
    yield "drawing.jpg", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "no picture", False
    yield "png-called.jpg", saved(photo, "PNG"), "pixels", True
    yield "jpeg-called.heic", jpeg(photo), "pixels", True
    yield "heic-called.jpg", saved(photo, "HEIF", quality=95), "pixels", True
    yield "dot.png", saved(photo.resize((1, 1)), "PNG"), "pixels", False
    yield "line.jpg", jpeg(photo.resize((3000, 1))), "pixels", False
    yield "thread.png", saved(photo.resize((1, 9000)), "PNG"), "pixels", False
    yield "declared.png", _png(20000, 20000, b"\0" * 99), "20000x20000", False
    yield "declared.gif", _declared_gif(60000), "60000x60000", False
    yield "declared.jpg", _declared(jpeg(photo), 65000, 65000), "65000x65000", False
    yield "bomb.png", _png(30000, 30000, b"\0" * (30000 * 3 + 1) * 300), "30000x30000", False
    yield "scans.jpg", _many_scans(photo), "scans", False
    yield "tail.jpg", jpeg(photo) + os.urandom(9000), "pixels", True


def _names(photo: Image.Image) -> Rows:
    data = jpeg(photo)
    yield "smørrebrød 日本語 😀 e\u0301 .jpg", data, "pixels", True
    yield "trailing dot..jpg", data, "pixels", True
    yield "new\nline\x1b[31m.jpg", data, "pixels", True
    yield "/".join(["deep" * 12] * 6) + "/" + "n" * 200 + ".jpg", data, "pixels", True       # 300 bytes and more


def _no_files(folder: Path) -> list[Case]:
    (folder / "folder.jpg").mkdir()
    cases = [Case(folder / "folder.jpg", "folder"), Case(folder / "vanished.jpg", "not there any more"),
             Case(folder / "nul\0byte.jpg", "path")]
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
        cases.append(Case(folder / "pipe.jpg", "no regular file"))
    if hasattr(os, "symlink"):
        os.symlink(folder / "loop.jpg", folder / "loop.jpg")
        cases.append(Case(folder / "loop.jpg", "cannot be read"))
    if hasattr(os, "geteuid") and os.geteuid() != 0:    # root may read everything
        (folder / "secret.jpg").write_bytes(b"x")
        (folder / "secret.jpg").chmod(0)
        cases.append(Case(folder / "secret.jpg", "permission"))
    return cases


def _heic(stored: Image.Image, orientation: int) -> bytes:
    """`stored` with rotation and mirror boxes that make it upright, and the same in EXIF, as phones write it."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    data = saved(stored, "HEIF", quality=95, exif=tags.tobytes())       # given as bytes, boxes are made of the tag
    tag = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00" + bytes([orientation])
    assert tag in data and (b"irot" in data or b"imir" in data), "pillow-heif writes otherwise by now"
    return data


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width: int, height: int, pixels: bytes, depth: int = 8) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(pixels))
            + _chunk(b"IEND", b""))


def _png16(pixels: np.ndarray) -> bytes:
    height, width = pixels.shape[:2]
    return _png(width, height, b"".join(b"\0" + row.tobytes() for row in pixels), depth=16)


def _declared(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header lies about its size."""
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4:]


def _declared_gif(side: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HH", side, side) + b"\x80\0\0" + bytes(6)
    return screen + b"," + struct.pack("<HHHH", 0, 0, side, side) + b"\0\x02\x02\x4c\x01\0;"


def _many_scans(photo: Image.Image) -> bytes:
    """A progressive JPEG that repeats its last scan a thousand times."""
    data = jpeg(photo, progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 1000 + data[-2:]


