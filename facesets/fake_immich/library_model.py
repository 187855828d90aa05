"""What the local server holds: users, keys, people, faces, assets, and how they are added, changed and deleted.

Times are milliseconds since 1970 (UTC), the resolution of Immich's replies. Ids are UUIDs made from a counter, so the
same calls give the same library. `Library.changes` grows with every change: it orders the sync stream and tells
`paging` when its lists are stale.
"""

import hashlib
import io
import mimetypes
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image, ImageOps

VISIBILITIES = ("archive", "timeline", "hidden", "locked")
EPOCH = datetime(1970, 1, 1)
NOW = int(datetime(2026, 4, 1, 12, tzinfo=UTC).timestamp() * 1000)     # when everything was uploaded, so runs are equal
PREVIEW_SIDE = 1440     # pixels of the shorter side of Immich's preview; it never enlarges
THUMBNAIL_SIDE = 250
MIME_TYPES = {".heic": "image/heic", ".heif": "image/heif", ".avif": "image/avif", ".dng": "image/dng",
              ".mp4": "video/mp4", ".webp": "image/webp"}


@dataclass(eq=False)
class User:
    id: str
    name: str
    email: str
    password: str
    is_admin: bool = False
    partners: dict[str, bool] = field(default_factory=dict)     # id of who shares with this user -> in their timeline


@dataclass(eq=False)
class Key:
    id: str
    secret: str
    name: str
    user: User
    permissions: tuple[str, ...]


@dataclass(eq=False)
class Person:
    id: str
    owner: User
    name: str
    hidden: bool = False
    favorite: bool = False
    birth_date: str | None = None
    color: str | None = None
    change: int = 0


@dataclass(eq=False, slots=True)
class Face:
    """One face; `box` = (x1, y1, x2, y2) in pixels of a frame width × height, Immich's upright preview."""

    id: str
    box: tuple[int, int, int, int]
    width: int
    height: int
    person: Person | None = None
    source: str = "machine-learning"
    visible: bool = True
    deleted: bool = False
    change: int = 0


@dataclass(eq=False, slots=True)
class Asset:
    """One item. `content` is a file, bytes, a maker of bytes, or None for a file that is gone from the disk."""

    id: str
    owner: User
    name: str
    path: str
    taken: int                      # fileCreatedAt
    checksum: bytes                 # SHA-1 of the bytes, or of "path:" + path in an external library
    content: Path | bytes | Callable[[], bytes] | None
    size: int = 0
    width: int | None = None        # upright
    height: int | None = None
    local: int = 0                  # localDateTime: the clock on the wall, written as if it were UTC
    created: int = NOW
    modified: int = NOW
    updated: int = NOW
    type: str = "IMAGE"
    visibility: str = "timeline"
    favorite: bool = False
    trashed: int = 0                # when, 0 = not
    offline: bool = False
    duration: int = 0               # ms, of a video
    library: str | None = None      # id of the external library
    live_photo: str | None = None   # id of the hidden video
    orientation: int | None = None  # as in the file
    exif: Mapping[str, Any] | None = field(default_factory=dict)    # None: no row yet, `withExif` hides the asset
    edits: tuple[Mapping[str, Any], ...] = ()
    thumbnails: bool = True         # False: Immich could not decode it
    faces: list[Face] = field(default_factory=list)
    change: int = 0

    @property
    def mime(self) -> str:
        return mime_type(self.name[self.name.rfind("."):].lower())

    @property
    def stored(self) -> tuple[int | None, int | None]:
        """Width and height as they lie in the file."""
        turned = (self.orientation or 1) >= 5
        return (self.height, self.width) if turned else (self.width, self.height)

    def read(self) -> bytes | None:
        """The file, or None where it is gone."""
        if isinstance(self.content, Path):
            return self.content.read_bytes() if self.content.is_file() else None
        return self.content() if callable(self.content) else self.content


@lru_cache
def mime_type(suffix: str) -> str:
    return MIME_TYPES.get(suffix) or mimetypes.guess_type(f"x{suffix}")[0] or "application/octet-stream"


def milliseconds(moment: datetime | str | int) -> int:
    """`moment` (a text without zone is UTC) as milliseconds since 1970."""
    if isinstance(moment, int):
        return moment
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


@lru_cache(maxsize=1 << 16)     # most assets share some of their five dates
def iso(moment: int, end: str = "Z", milliseconds: bool = True) -> str:
    """Milliseconds since 1970 -> "2024-02-01T03:04:05.000Z"."""
    unit = "milliseconds" if milliseconds else "seconds"
    return (EPOCH + timedelta(milliseconds=moment)).isoformat(timespec=unit) + end


class Library:
    """Everything on the server. `lock` guards changes while requests are being answered.

    mounted      False: no file can be read, as if the disk were gone
    """

    def __init__(self) -> None:
        pillow_heif.register_heif_opener()
        self.lock = threading.RLock()
        self.users: dict[str, User] = {}
        self.keys: dict[str, Key] = {}              # by secret
        self.people: dict[str, Person] = {}
        self.assets: dict[str, Asset] = {}
        self.sessions: dict[str, User] = {}         # logins, by token
        self.thumbnails: dict[tuple[str, int, str], bytes] = {}     # asset, side, format -> what was made of it
        self.mounted = True
        self.changes = 0
        self._ids = 0

    def new_id(self, kind: str = "") -> str:
        self._ids += 1
        return str(uuid.UUID(bytes=hashlib.md5(f"{kind}{self._ids}".encode()).digest(), version=4))

    def changed(self) -> int:
        self.changes += 1
        return self.changes

    def add_user(self, name: str, email: str | None = None, password: str = "password", admin: bool = False) -> User:
        with self.lock:
            user = User(self.new_id("user"), name, email or f"{name.lower().replace(' ', '.')}@example.org", password,
                        admin)
            self.users[user.id] = user
            return user

    def add_key(self, user: User, permissions: Iterable[str] = ("all",), name: str = "key") -> Key:
        with self.lock:
            secret = hashlib.sha256(f"{user.id}{len(self.keys)}".encode()).hexdigest()[:43]
            key = Key(self.new_id("key"), secret, name, user, tuple(permissions))
            self.keys[secret] = key
            return key

    def add_person(self, user: User, name: str = "", **options: Any) -> Person:
        with self.lock:
            person = Person(self.new_id("person"), user, name, change=self.changed(), **options)
            self.people[person.id] = person
            return person

    def share(self, owner: User, with_user: User, in_timeline: bool = True) -> None:
        """Partner sharing: `with_user` sees the assets of `owner`, in search only when they are in the timeline."""
        with self.lock:
            with_user.partners[owner.id] = in_timeline
            self.changed()

    def add_asset(self, user: User, content: Path | bytes | Callable[[], bytes] | None = None, *,
                  name: str | None = None, taken: datetime | str | int = NOW, local: datetime | str | int | None = None,
                  external: bool = False, path: str | None = None, faces: Sequence[Face] = (), **options: Any) -> Asset:
        """Add one item; size, checksum, sides and orientation are read from `content` where options do not give them.

        options: any field of Asset. `offline=True` also puts it into the trash, as Immich does.
        """
        with self.lock:
            identity = self.new_id("asset")
            name = name or (content.name if isinstance(content, Path) else f"{identity[:8]}.jpg")
            suffix = Path(name).suffix
            path = path or (f"/mnt/photos/{name}" if external else
                            f"/data/upload/{user.id}/{identity[:2]}/{identity[2:4]}/{identity}{suffix}")
            moment = milliseconds(taken)
            given = set(options)
            asset = Asset(identity, user, name, path, moment, options.pop("checksum", b""), content, **options)
            asset.local = asset.local or (moment if local is None else milliseconds(local))
            asset.library = asset.library or (self._external(user) if external else None)
            _read_file(asset, given)
            if asset.offline and not asset.trashed:
                asset.trashed = NOW
            self.assets[asset.id] = asset
            asset.change = self.changed()
            for face in faces:
                self.add_face(asset, face)
            return asset

    def face(self, box: Sequence[float], width: int, height: int, person: Person | None = None, **options: Any) -> Face:
        x1, y1, x2, y2 = (round(side) for side in box)
        return Face(self.new_id("face"), (x1, y1, x2, y2), width, height, person, **options)

    def add_face(self, asset: Asset, face: Face) -> None:
        """Immich found a face; `updatedAt` of the asset does not move."""
        with self.lock:
            face.change = self.changed()
            asset.faces = [*asset.faces, face]

    def _external(self, user: User) -> str:
        return str(uuid.UUID(bytes=hashlib.md5(f"library{user.id}".encode()).digest(), version=4))


def _read_file(asset: Asset, given: set[str]) -> None:
    """Fill what Immich would learn from the file."""
    data = asset.read() if not {"checksum", "size"} <= given else None
    if "size" not in given:
        asset.size = len(data or b"")
    if "checksum" not in given:
        hashed = f"path:{asset.path}".encode() if asset.library else data or asset.id.encode()
        asset.checksum = hashlib.sha1(hashed).digest()
    if data and asset.type == "IMAGE" and "width" not in given:
        try:
            with Image.open(io.BytesIO(data)) as image:
                asset.orientation = image.getexif().get(0x0112) if "orientation" not in given else asset.orientation
                asset.width, asset.height = image.size
                asset.width, asset.height = asset.stored
        except (OSError, ValueError, SyntaxError):
            asset.thumbnails = False    # Immich lists a damaged file like any other


def thumbnail(data: bytes, side: int, kind: str) -> bytes | None:
    """`data` upright with a shorter side of at most `side` pixels, as JPEG or WEBP; None for what cannot be decoded."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            scale = min(1.0, side / min(upright.size))
            small = upright.resize((round(upright.width * scale), round(upright.height * scale)), reducing_gap=2.0)
            out = io.BytesIO()
            small.save(out, kind, quality=80)
            return out.getvalue()
    except (OSError, ValueError, SyntaxError):
        return None
