"""Routes that list: search, statistics, timeline."""

import re
from collections.abc import Callable

from .library_model import VISIBILITIES, Asset
from .paging import Scope, Window, months, visible_owners
from .protocol import DATE, ApiError, Call, Fields, Reply, json_reply, text_reply
from .replies import asset_json, bucket_json, search_page

LARGEST_PAGE = 1000
KINDS = ("IMAGE", "VIDEO", "AUDIO", "OTHER")
SEEN = frozenset({"timeline", "archive"})       # what timeline and statistics count where no visibility is named
Keep = Callable[[Asset], bool]


def metadata(call: Call) -> Reply:
    """POST /search/metadata"""
    fields = Fields(call.body, call.version)
    page, size = fields.integer("page", 1, None), fields.integer("size", 250, LARGEST_PAGE)
    assets, more = call.index.page(*asked(call, fields, page, size))
    return text_reply(search_page(shown(call, fields, assets), page + 1 if more else None, call.version))


def shown(call: Call, fields: Fields, assets: list[Asset]) -> list[str]:
    """The assets of a search as it replies them."""
    people, exif = fields.boolean("withPeople"), fields.boolean("withExif")
    return [asset_json(asset, call.version, people=people, exif=exif) for asset in assets]


def asset_statistics(call: Call) -> Reply:
    """GET /assets/statistics: own assets, timeline and archive unless a visibility is named."""
    chosen = _own(call, frozenset({call.user.id}))
    images, videos = (sum(asset.type == kind for asset in chosen) for kind in ("IMAGE", "VIDEO"))
    return json_reply({"images": images, "videos": videos, "total": len(chosen)})


def buckets(call: Call) -> Reply:
    """GET /timeline/buckets: assets per month of localDateTime, newest first."""
    found = months(_timeline(call))
    return json_reply([{"timeBucket": month, "count": len(assets)} for month, assets in found.items()])


def bucket(call: Call) -> Reply:
    """GET /timeline/bucket: the assets of one month that have an exif row, as columns."""
    month = Fields(call.query, call.version).text("timeBucket", ["timeBucket must be a string"])
    if call.version[0] >= 3 and not re.fullmatch(DATE, month[:10]):
        raise ApiError(500, "Failed to get time bucket")
    shown = [asset for asset in months(_timeline(call)).get(month[:7] + "-01", []) if asset.exif is not None]
    return json_reply(bucket_json(shown, call.version))


def _timeline(call: Call) -> list[Asset]:
    owner = call.query.get("userId", call.user.id)
    if owner != call.user.id and owner not in call.user.partners:
        raise ApiError(400, "Not found or no timeline.read access")
    owners = visible_owners(call.user) if call.query.get("withPartners") == "true" else frozenset({owner})
    return _own(call, owners)


def _own(call: Call, owners: frozenset[str]) -> list[Asset]:
    visibility = Fields(call.query, call.version).one_of("visibility", VISIBILITIES)
    if visibility == "locked":
        raise ApiError(401, "Elevated permission is required")
    return call.index.sorted(Scope(owners, frozenset({visibility}) if visibility else SEEN,
                                   trashed=call.query.get("isTrashed") == "true"))


def asked(call: Call, fields: Fields, page: int, size: int) -> tuple[Scope, Window, Keep | None]:
    if call.version >= (3, 2, 0) and {"filter", "orderBy", "cursor"} & set(fields.values):     # which ours never sends
        raise ApiError(400, "filter, orderBy and cursor cannot be mixed with the older fields")
    kind, visibility = fields.one_of("type", KINDS), fields.one_of("visibility", VISIBILITIES)
    order = fields.one_of("order", ("asc", "desc")) or "desc"
    if visibility == "locked":
        raise ApiError(401, "Elevated permission is required")
    default = frozenset({"timeline"}) if call.version[0] < 3 else frozenset({"timeline", "archive", "hidden"})
    scope = Scope(visible_owners(call.user), frozenset({visibility}) if visibility else default, kind,
                  None if fields.boolean("withDeleted") else False, fields.boolean("withExif"))
    window = Window(fields.moment("takenAfter"), fields.moment("takenBefore"), order == "desc", page, size)
    return scope, window, _filters(fields)


def _filters(fields: Fields) -> Keep | None:
    """What no index answers; None where nothing of it is asked."""
    tests: list[Keep] = []
    if fields.get("id"):
        wanted = fields.uuid("id")
        tests.append(lambda asset: asset.id == wanted)
    for field in ("updated", "created"):
        after, before = fields.moment(f"{field}After"), fields.moment(f"{field}Before")
        if after is not None or before is not None:
            tests.append(_between(field, after, before))
    return (lambda asset: all(test(asset) for test in tests)) if tests else None


def _between(field: str, after: int | None, before: int | None) -> Keep:
    return lambda asset: ((after is None or getattr(asset, field) >= after)
                          and (before is None or getattr(asset, field) <= before))
