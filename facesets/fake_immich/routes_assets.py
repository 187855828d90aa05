"""Routes for one asset: its file, its thumbnails."""

import email.utils
import urllib.parse
from pathlib import Path

from .library_model import NOW, PREVIEW_SIDE, THUMBNAIL_SIDE, Asset, thumbnail
from .paging import may_open
from .protocol import ApiError, Call, Fields, Reply, unreadable, uuid_of

CACHE = "private, max-age=86400, no-transform, stale-while-revalidate=2592000, stale-if-error=2592000"
SIZES = ("original", "fullsize", "preview", "thumbnail")


def original(call: Call) -> Reply:
    """GET /assets/{id}/original: ranges, weak ETags; a file that is gone is 500 on 2.x and 404 on 3.x."""
    found = opened(call, call.id, "asset.download")
    data = found.read() if call.library.mounted else None
    if data is None:
        if call.version[0] >= 3:
            raise ApiError(404, "Not Found")
        return unreadable(found.id[:8], _named(found.name))
    return _file(call, data, found.name, found.mime, found.modified)


def thumb(call: Call) -> Reply:
    """GET /assets/{id}/thumbnail?size="""
    size = Fields(call.query, call.version).one_of("size", SIZES) or "thumbnail"
    found = opened(call, call.id, "asset.view")
    if size == "original" and call.version[0] < 3:
        raise ApiError(400, "May not request original file")
    if size in ("fullsize", "original"):
        return Reply(302, b"Found. Redirecting to original?", "text/plain; charset=utf-8", {"Location": "original?"})
    preview = size == "preview"
    kind = "JPEG" if preview else "WEBP"
    data = _small(call, found, PREVIEW_SIDE if preview else THUMBNAIL_SIDE, kind)
    name = f"{Path(found.name).stem}_{size}.{kind.lower()}"
    return _file(call, data, name, f"image/{kind.lower()}", NOW)


def opened(call: Call, identity: str, permission: str) -> Asset:
    """The asset, if this user may have it. 2.x says 400 for foreign and unknown ids, 3.x 404 for their files."""
    found = call.library.assets.get(uuid_of(identity))
    if found is not None and may_open(call.user, found):
        return found
    message = f"Not found or no {permission} access"
    if permission != "asset.download":
        raise ApiError(400, message)
    raise ApiError(404, "Not Found") if call.version[0] >= 3 else ApiError(400, message, {"Cache-Control": "none"})


def _small(call: Call, found: Asset, side: int, kind: str) -> bytes:
    """The preview or thumbnail, made once; 404 where Immich has none."""
    if not found.thumbnails or found.width is None:
        raise ApiError(404, "Asset media not found")
    made = call.library.thumbnails.get((found.id, side, kind)) or thumbnail(found.read() or b"", side, kind)
    if made is None:
        raise ApiError(404, "Asset media not found")
    call.library.thumbnails[found.id, side, kind] = made
    return made


def _named(name: str) -> dict[str, str]:
    """Content-Disposition with the name as encodeURIComponent writes it."""
    quoted = urllib.parse.quote(name, safe="-_.!~*'()")
    return {"Content-Disposition": f"inline; filename*=UTF-8''{quoted}"}


def _file(call: Call, data: bytes, name: str, kind: str, modified: int) -> Reply:
    """`data` as Express sends a file: ETag, Last-Modified, one range."""
    etag = f'W/"{len(data):x}-{modified:x}"'
    when = email.utils.formatdate(modified / 1000, usegmt=True)
    headers = {"Cache-Control": CACHE, **_named(name), "Accept-Ranges": "bytes", "Last-Modified": when, "ETag": etag}
    span = _range(call, len(data), etag, modified)
    if span is None:
        return Reply(200, data, kind, headers)
    start, end = span
    if start >= len(data):
        beyond = {**headers, "Content-Range": f"bytes */{len(data)}"}
        if call.version[0] >= 3:
            raise ApiError(404, "Not Found", beyond, f"{kind}; charset=utf-8")
        reply = unreadable(call.id[:8], beyond)
        reply.headers["Cache-Control"] = "none"
        return reply
    return Reply(206, data[start:end + 1], kind, {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"})


def _range(call: Call, length: int, etag: str, modified: int) -> tuple[int, int] | None:
    """(first, last) byte; None for no range, several, another unit, nonsense, or an If-Range that no longer holds.

    Express takes a weak ETag in If-Range for a match, which the standard does not.
    """
    wanted = call.headers.get("range", "")
    condition = call.headers.get("if-range")
    if condition is not None:
        since = _date(condition)
        if not (etag in condition if '"' in condition else since is not None and modified // 1000 <= since):
            return None
    first, dash, last = wanted.removeprefix("bytes=").partition("-")
    if not wanted.startswith("bytes=") or not dash or not (first + last).isdecimal():
        return None
    if not first:
        return max(0, length - int(last)), length - 1
    return int(first), min(int(last), length - 1) if last else length - 1


def _date(text: str) -> int | None:
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError):
        return None
