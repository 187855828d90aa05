"""Routes that list: search, statistics, timeline."""

import random
import unicodedata
from collections.abc import Callable
from typing import Any

from .library_model import VISIBILITIES, Asset, milliseconds
from .paging import Scope, Window, months, visible_owners
from .protocol import ApiError, Call, Reply, json_reply, text_reply, uuid_of
from .replies import asset_json, bucket_json, checksum, exif_fields, search_page, seen

LARGEST_PAGE = 1000
TYPES = ("IMAGE", "VIDEO", "AUDIO", "OTHER")
SEEN = frozenset({"timeline", "archive"})       # what timeline and statistics count where no visibility is named
DRAW = random.Random(0)      # the same assets in every run of a test
Keep = Callable[[Asset], bool]


def metadata(call: Call) -> Reply:
    """POST /search/metadata"""
    body = call.body if isinstance(call.body, dict) else {}
    if call.version >= (3, 2, 0) and ({"filter", "orderBy", "cursor"} & set(body)):
        return _structured(call, body)
    page, size = _integer(body, "page", 1, None), _integer(body, "size", 250, LARGEST_PAGE)
    scope, window, keep = _asked(call, body, page, size)
    assets, more = call.index.page(scope, window, keep)
    return _items(call, assets, _boolean(body, "withPeople"), scope.with_exif, page + 1 if more else None)


def search_statistics(call: Call) -> Reply:
    """POST /search/statistics: the one true total of a search."""
    body = call.body if isinstance(call.body, dict) else {}
    scope, window, keep = _asked(call, body, 1, 1 << 40)
    return json_reply({"total": len(call.index.page(scope, window, keep)[0])})


def at_random(call: Call) -> Reply:
    """POST /search/random: some assets of a search, others each time."""
    body = call.body if isinstance(call.body, dict) else {}
    scope, window, keep = _asked(call, body, 1, 1 << 40)
    found = call.index.page(scope, window, keep)[0]
    chosen = DRAW.sample(found, min(len(found), _integer(body, "size", 250, LARGEST_PAGE)))
    items = [asset_json(asset, call.version, people=_boolean(body, "withPeople"), exif=scope.with_exif)
             for asset in chosen]
    return text_reply(f"[{','.join(items)}]")


def asset_statistics(call: Call) -> Reply:
    """GET /assets/statistics: own assets, timeline and archive unless a visibility is named."""
    chosen = _own(call, "isTrashed", frozenset({call.user.id}))
    favorite = call.query.get("isFavorite")
    chosen = [asset for asset in chosen if favorite is None or asset.favorite == (favorite == "true")]
    images = sum(asset.type == "IMAGE" for asset in chosen)
    videos = sum(asset.type == "VIDEO" for asset in chosen)
    return json_reply({"images": images, "videos": videos, "total": len(chosen)})


def buckets(call: Call) -> Reply:
    """GET /timeline/buckets: assets per month of localDateTime, newest first."""
    found = months(_timeline(call))
    return json_reply([{"timeBucket": month, "count": len(assets)} for month, assets in found.items()])


def bucket(call: Call) -> Reply:
    """GET /timeline/bucket: the assets of one month that have an exif row, as columns."""
    month = call.query.get("timeBucket", "")
    if not month:
        raise ApiError(400, ["timeBucket must be a string"])
    shown = [asset for asset in months(_timeline(call)).get(month[:7] + "-01", []) if asset.exif is not None]
    return json_reply(bucket_json(shown, call.version))


def _timeline(call: Call) -> list[Asset]:
    owner = call.query.get("userId", call.user.id)
    if owner != call.user.id and owner not in call.user.partners:
        raise ApiError(400, "Not found or no timeline.read access")
    owners = visible_owners(call.user) if call.query.get("withPartners") == "true" else frozenset({owner})
    return _own(call, "isTrashed", owners)


def _own(call: Call, trashed: str, owners: frozenset[str]) -> list[Asset]:
    visibility = call.query.get("visibility")
    _one_of("visibility", visibility, VISIBILITIES)
    if visibility == "locked":
        raise ApiError(401, "Elevated permission is required")
    return call.index.sorted(Scope(owners, frozenset({visibility}) if visibility else SEEN,
                                          trashed=call.query.get(trashed) == "true"))


def _items(call: Call, assets: list[Asset], people: bool, exif: bool, following: int | None) -> Reply:
    items = [asset_json(asset, call.version, people=people, exif=exif) for asset in assets]
    return text_reply(search_page(items, following))


def _asked(call: Call, body: dict[str, Any], page: int, size: int) -> tuple[Scope, Window, Keep | None]:
    kind, visibility, order = body.get("type"), body.get("visibility"), body.get("order", "desc")
    _one_of("type", kind, TYPES)
    _one_of("visibility", visibility, VISIBILITIES)
    _one_of("order", order, ("asc", "desc"))
    if visibility == "locked":
        raise ApiError(401, "Elevated permission is required")
    default = frozenset({"timeline"}) if call.version[0] < 3 else frozenset({"timeline", "archive", "hidden"})
    trash = body.get("trashedAfter") or body.get("trashedBefore")
    scope = Scope(visible_owners(call.user), frozenset({visibility}) if visibility else default, kind,
                  None if _boolean(body, "withDeleted") else bool(trash), _boolean(body, "withExif"))
    window = Window(_moment(body, "takenAfter"), _moment(body, "takenBefore"), order == "desc", page, size)
    return scope, window, _filters(body)


def _filters(body: dict[str, Any]) -> Keep | None:
    """What no index answers; None where nothing of it is asked."""
    tests: list[Keep] = [_shows(person) for person in body.get("personIds") or ()]     # all of them in one picture
    if body.get("id"):
        tests.append(_equals("id", uuid_of(body["id"])))
    if body.get("libraryId"):
        tests.append(_equals("library", body["libraryId"]))
    for name, field in (("isFavorite", "favorite"), ("isOffline", "offline")):
        if name in body:
            tests.append(_equals(field, _boolean(body, name)))
    for field in ("updated", "created", "trashed"):
        after, before = _moment(body, f"{field}After"), _moment(body, f"{field}Before")
        if after is not None or before is not None:
            tests.append(_between(field, after, before))
    if body.get("checksum"):
        tests.append(lambda asset: body["checksum"] in (checksum(asset), asset.checksum.hex()))
    if body.get("originalFileName"):
        tests.append(lambda asset: _plain(body["originalFileName"]) in _plain(asset.name))
    if "city" in body:
        tests.append(lambda asset: exif_fields(asset)["city"] == body["city"])
    if body.get("albumIds"):
        tests.append(lambda asset: False)       # this server has no albums
    return (lambda asset: all(test(asset) for test in tests)) if tests else None


def _equals(field: str, value: object) -> Keep:
    return lambda asset: getattr(asset, field) == value


def _between(field: str, after: int | None, before: int | None) -> Keep:
    return lambda asset: ((after is None or getattr(asset, field) >= after)
                          and (before is None or getattr(asset, field) <= before))


def _shows(person: str) -> Keep:
    return lambda asset: any(face.person is not None and face.person.id == person for face in seen(asset.faces))


def _structured(call: Call, body: dict[str, Any]) -> Reply:
    """The search of 3.2: {"filter": {"hasPeople": bool, ...flat fields}, "orderBy", "cursor", "size"}.

    The cursor is the number of the next page; the order is total, so nothing is lost.
    """
    if set(body) - {"filter", "orderBy", "cursor", "size", "withPeople", "withExif"}:
        raise ApiError(400, "filter, orderBy and cursor cannot be mixed with the older fields")
    wanted = dict(body.get("filter") or {})
    has_people = wanted.pop("hasPeople", None)
    size, page = _integer(body, "size", 250, LARGEST_PAGE), int(body.get("cursor") or 1)
    scope, window, keep = _asked(call, {**wanted, "withExif": body.get("withExif", False)}, page, size)

    def also(asset: Asset) -> bool:
        peopled = any(face.person is not None for face in seen(asset.faces))
        return (keep is None or keep(asset)) and (has_people is None or peopled == has_people)
    assets, more = call.index.page(scope, window, also)
    return _items(call, assets, _boolean(body, "withPeople"), scope.with_exif, page + 1 if more else None)


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ApiError(400, [f"{name} must be one of the following values: {', '.join(allowed)}"])


def _integer(body: dict[str, Any], name: str, default: int, largest: int | None) -> int:
    try:
        value = float(body.get(name, default))
    except (TypeError, ValueError):
        raise ApiError(400, [f"{name} must be an integer number"]) from None
    if not value.is_integer():
        raise ApiError(400, [f"{name} must be an integer number"])
    if value < 1:
        raise ApiError(400, [f"{name} must not be less than 1"])
    if largest is not None and value > largest:
        raise ApiError(400, [f"{name} must not be greater than {largest}"])
    return int(value)


def _boolean(body: dict[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if value not in (True, False, "true", "false", None):
        raise ApiError(400, [f"{name} must be a boolean value"])
    return value in (True, "true")


def _moment(body: dict[str, Any], name: str) -> int | None:
    if body.get(name) is None:
        return None
    try:
        return milliseconds(str(body[name]))
    except ValueError:
        raise ApiError(400, f"{name} must be a date string") from None


def _plain(text: str) -> str:
    """Lower case without accents, as Immich compares file names."""
    return "".join(char for char in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(char))
