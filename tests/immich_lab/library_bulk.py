"""Made-up libraries of any size, for benchmarks: the same numbers give the same library.

As in a real home library about 45 % of the assets show faces, a part of them in bursts that share one second, and one
block of scans shares a single date, so that offset paging loses some of them.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import Any

from facesets.fake_immich.library_model import NOW, Asset, Face, Library, User

FIRST = 1_072_915_200_000       # 2004-01-01
CAMERAS: tuple[dict[str, Any], ...] = (
    {"make": "Canon", "model": "Canon EOS 80D"}, {"make": "Apple", "model": "iPhone 12"}, {})
FRAME = (1920, 1440)            # Immich's preview of a 4000 × 3000 photo
SIDES = (4000, 3000)


def fill(library: Library, user: User, count: int, *, seed: int = 0, photos: Sequence[bytes] = (), scans: float = 0.02,
         archived: float = 0.02, videos: float = 0.05, faces: float = 0.45, people: int = 200) -> list[Asset]:
    """Add `count` assets; shares of the whole: `scans` of one date, `archived`, `videos`, and with `faces`.

    photos: bytes that the files are made from (asset i is photos[i % n] and 16 bytes after its end, so that all
            differ and all decode); none: the files do not exist and no download succeeds
    """
    draw = random.Random(seed)
    persons = [library.add_person(user, f"Person {number}" if number % 2 else "") for number in range(people)]
    added = []
    with library.lock:
        moment = FIRST
        for number in range(count):
            if number % 10 < 7:     # the rest share the second of the one before
                moment += draw.randrange(1, 16) * 1_000_000
            taken = FIRST + 86_400_000 if number < scans * count else moment
            added.append(_asset(library, user, number, taken, draw, photos, archived, videos))
            if added[-1].type == "IMAGE" and draw.random() < faces:
                added[-1].faces = _faces(library, number, draw, persons)
    return added


def _asset(library: Library, user: User, number: int, taken: int, draw: random.Random, photos: Sequence[bytes],
           archived: float, videos: float) -> Asset:
    mixed = number * 2_654_435_761 % (1 << 32)      # Knuth's multiplier: ids in no order of date
    identity = f"{mixed:08x}-{number % 65536:04x}-4000-8000-{number:012x}"
    video = draw.random() < videos
    base = photos[number % len(photos)] if photos else None
    tail = number.to_bytes(16, "big")
    name = f"IMG_{number:07}.{'mp4' if video else 'jpg'}"
    asset = Asset(
        identity, user, name, f"/data/upload/{identity[:2]}/{name}", taken,
        hashlib.sha1((base or b"") + tail).digest(), (lambda: base + tail) if base is not None else None,
        size=len(base) + 16 if base is not None else 2_000_000 + mixed % 3_000_000, width=SIDES[0], height=SIDES[1],
        local=taken, type="VIDEO" if video else "IMAGE", exif=CAMERAS[number % 3],
        visibility="archive" if draw.random() < archived else "timeline", duration=12_345 if video else 0,
        modified=NOW, created=NOW + number * 40, updated=NOW + number * 90, change=library.changed())
    library.assets[identity] = asset
    return asset


def _faces(library: Library, number: int, draw: random.Random, persons: Sequence[Any]) -> list[Face]:
    """One to four faces, half of them big enough to stage (90 px of the original)."""
    found = []
    for place in range(draw.choice((1, 1, 1, 2, 2, 3, 4))):
        side = draw.choice((20, 30, 38, 60, 110, 240))
        x, y = draw.randrange(FRAME[0] - side), draw.randrange(FRAME[1] - side)
        person = persons[draw.randrange(len(persons))] if persons and draw.random() < 0.8 else None
        found.append(Face(f"{number:08x}-0000-4000-9000-{place:012x}", (x, y, x + side, y + side), *FRAME, person,
                          change=library.changed()))
    return found
