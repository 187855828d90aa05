"""Routes about the server, the user, the key and the login."""

import secrets

from .protocol import ApiError, Call, Reply, json_reply
from .replies import key_json, own_user_json


def ping(call: Call) -> Reply:
    return json_reply({"res": "pong"})


def version(call: Call) -> Reply:
    major, minor, patch = call.version
    fields: dict[str, object] = {"major": major, "minor": minor, "patch": patch}
    return json_reply(fields if major < 3 else {**fields, "prerelease": None})


def features(call: Call) -> Reply:
    on = ("map", "reverseGeocoding", "importFaces", "sidecar", "search", "trash", "passwordLogin", "facialRecognition")
    off = ("smartSearch", "duplicateDetection", "oauth", "oauthAutoLaunch", "ocr", "configFile", "email")
    newer = {"realtimeTranscoding": False} if call.version[0] >= 3 else {}
    return json_reply({name: name in on for name in (*on, *off)} | newer)


def about(call: Call) -> Reply:
    number = ".".join(map(str, call.version))
    return json_reply({"version": f"v{number}", "versionUrl": f"https://github.com/immich-app/immich/releases/tag/v{number}",
                       "licensed": False, "nodejs": "v24", "exiftool": "13", "ffmpeg": "5", "libvips": "8",
                       "imagemagick": ""})


def statistics(call: Call) -> Reply:
    """Admins only. Its numbers count locked assets as well, so nothing may be compared with them."""
    if not call.user.is_admin:
        raise ApiError(403, "Forbidden")
    users = []
    for user in call.library.users.values():
        mine = [asset for asset in call.library.assets.values()
                if asset.owner is user and not asset.trashed and asset.visibility != "hidden"]
        sizes = {kind: sum(asset.size for asset in mine if asset.type == kind) for kind in ("IMAGE", "VIDEO")}
        counts = {kind: sum(asset.type == kind for asset in mine) for kind in ("IMAGE", "VIDEO")}
        users.append({"userId": user.id, "userName": user.name, "photos": counts["IMAGE"], "videos": counts["VIDEO"],
                      "usage": sum(sizes.values()), "usagePhotos": sizes["IMAGE"], "usageVideos": sizes["VIDEO"],
                      "quotaSizeInBytes": None})
    total = {name: sum(user[name] for user in users)    # type: ignore[misc]
             for name in ("photos", "videos", "usage", "usagePhotos", "usageVideos")}
    return json_reply({**total, "usageByUser": users})


def users_me(call: Call) -> Reply:
    usage = sum(asset.size for asset in call.library.assets.values() if asset.owner is call.user and not asset.library)
    return json_reply(own_user_json(call.user, usage))


def api_key_me(call: Call) -> Reply:
    key = call.library.keys.get(call.headers.get("x-api-key", "") or call.query.get("apiKey", ""))
    if key is None:
        raise ApiError(403, "Not authenticated with an API Key")
    return json_reply(key_json(key))


def login(call: Call) -> Reply:
    body = call.body if isinstance(call.body, dict) else {}
    for user in call.library.users.values():
        if body.get("email") == user.email and body.get("password") == user.password:
            token = secrets.token_urlsafe(32)
            call.server.sessions[token] = user
            return json_reply({"accessToken": token, "userId": user.id, "userEmail": user.email, "name": user.name,
                               "isAdmin": user.is_admin, "profileImagePath": "", "shouldChangePassword": False,
                               "isOnboarded": True}, 201)
    raise ApiError(401, "Incorrect email or password")


def logout(call: Call) -> Reply:
    call.server.sessions.pop(call.session, None)
    return json_reply({"successful": True, "redirectUri": "/auth/login?autoLaunch=0"})


def session_only(call: Call) -> None:
    if not call.session:
        raise ApiError(403, "Sync endpoints cannot be used with API keys")
