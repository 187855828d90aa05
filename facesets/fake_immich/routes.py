"""Which route answers a request, whether its sender may ask, and the routes about server, user and key.

What only tests ask for is in tests/immich_lab.
"""

import re
from collections.abc import Callable

from . import routes_assets, routes_search
from .protocol import ApiError, Call, Reply, json_reply
from .replies import key_json, own_user_json


def ping(call: Call) -> Reply:
    return json_reply({"res": "pong"})


def version(call: Call) -> Reply:
    fields: dict[str, object] = dict(zip(("major", "minor", "patch"), call.version, strict=True))
    return json_reply(fields if call.version[0] < 3 else {**fields, "prerelease": None})


def users_me(call: Call) -> Reply:
    usage = sum(asset.size for asset in call.library.assets.values() if asset.owner is call.user and not asset.library)
    return json_reply(own_user_json(call.user, usage))


def api_key_me(call: Call) -> Reply:
    key = call.library.keys.get(call.headers.get("x-api-key", "") or call.query.get("apiKey", ""))
    if key is None:
        raise ApiError(403, "Not authenticated with an API Key")
    return json_reply(key_json(key))


ID = r"(?P<id>[^/]+)"
ROUTES: tuple[tuple[str, str, str | None, Callable[[Call], Reply]], ...] = (
    # method, path below /api, permission ("" any login, None nobody asks), route
    ("GET", "/server/ping", None, ping),
    ("GET", "/server/version", None, version),
    ("GET", "/users/me", "user.read", users_me),
    ("GET", "/api-keys/me", "", api_key_me),
    ("POST", "/search/metadata", "asset.read", routes_search.metadata),
    ("GET", "/assets/statistics", "asset.statistics", routes_search.asset_statistics),
    ("GET", "/timeline/buckets", "asset.read", routes_search.buckets),
    ("GET", "/timeline/bucket", "asset.read", routes_search.bucket),
    ("GET", f"/assets/{ID}/original", "asset.download", routes_assets.original),
    ("GET", f"/assets/{ID}/thumbnail", "asset.view", routes_assets.thumb),
)
COMPILED = [(method, re.compile("/api" + path), permission, route) for method, path, permission, route in ROUTES]


def answer(call: Call) -> Reply:
    """Find the route, then the user, then the answer: Immich's order."""
    if not call.path.startswith("/api"):
        return Reply(200, b"", "text/html; charset=utf-8", {"Cache-Control": "no-store"}, id_header=False)
    for method, pattern, permission, route in COMPILED:
        match = pattern.fullmatch(call.path)
        if match and method == call.method:
            call.id = match.groupdict().get("id", "")
            if permission is not None:
                _authenticate(call)
                if permission and not {"all", permission} & set(call.permissions):
                    raise ApiError(403, f"Missing required permission: {permission}")
            return route(call)
    raise ApiError(404, f"Cannot {call.method} {call.path}")


def _authenticate(call: Call) -> None:
    secret = call.headers.get("x-api-key") or call.query.get("apiKey")
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        if token not in call.library.sessions:
            raise ApiError(401, "Invalid user token")
        call.found_user, call.permissions, call.session = call.library.sessions[token], ("all",), token
    elif secret:
        key = call.library.keys.get(secret)
        if key is None:
            raise ApiError(401, "Invalid API key")
        call.found_user, call.permissions = key.user, key.permissions
    else:
        raise ApiError(401, "Authentication required")
