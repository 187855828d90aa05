"""Routes about the server, the user and the key."""

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

