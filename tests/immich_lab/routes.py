"""The routes that the demo has no need of, and our client may ask: a login, faces, a search at random, people, albums,
the sync stream. Whoever imports this gives them to every local server of the process.
"""

import random
import re
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from facesets.fake_immich import routes
from facesets.fake_immich.library_model import Face
from facesets.fake_immich.protocol import ApiError, Call, Fields, Reply, json_reply, text_reply
from facesets.fake_immich.replies import face_box, person_json, seen
from facesets.fake_immich.routes_assets import opened
from facesets.fake_immich.routes_search import LARGEST_PAGE, asked, shown

from . import routes_people, routes_sync

DRAW = random.Random(0)      # the same assets in every run of a test


def login(call: Call) -> Reply:
    body = call.body if isinstance(call.body, dict) else {}
    for user in call.library.users.values():
        if body.get("email") == user.email and body.get("password") == user.password:
            token = secrets.token_urlsafe(32)
            call.library.sessions[token] = user
            return json_reply({"accessToken": token, "userId": user.id, "userEmail": user.email, "name": user.name,
                               "isAdmin": user.is_admin, "profileImagePath": "", "shouldChangePassword": False,
                               "isOnboarded": True}, 201)
    raise ApiError(401, "Incorrect email or password")


def logout(call: Call) -> Reply:
    call.library.sessions.pop(call.session, None)
    return json_reply({"successful": True, "redirectUri": "/auth/login?autoLaunch=0"})


def at_random(call: Call) -> Reply:
    """POST /search/random: some assets of a search, others each time."""
    fields = Fields(call.body, call.version)
    scope, window, keep = asked(call, fields, 1, 1 << 40)
    found = call.index.page(scope, window, keep)[0]
    chosen = DRAW.sample(found, min(len(found), fields.integer("size", 250, LARGEST_PAGE)))
    return text_reply(f"[{','.join(shown(call, fields, chosen))}]")


def faces(call: Call) -> Reply:
    """GET /faces?id=: boxes of an edited asset are moved into the edited picture; partners' people stay unknown."""
    asset = opened(call, Fields(call.query, call.version).text(
        "id", ["id must be a UUID", "id should not be empty", "id must be a string"]), "asset.read")
    return json_reply([{**face_box(_edited(face, asset.edits)), "person": person_json(face.person, "+00:00")
                        if face.person and face.person.owner is call.user else None} for face in seen(asset.faces)])


def _edited(face: Face, edits: Sequence[Any]) -> Face:
    """The box and its frame after `edits` (crop in pixels of the frame, rotate clockwise by quarters)."""
    x1, y1, x2, y2 = face.box
    width, height = face.width, face.height
    for edit in edits:
        values = edit["parameters"]
        if edit["action"] == "crop":
            x1, x2 = x1 - values["x"], x2 - values["x"]
            y1, y2 = y1 - values["y"], y2 - values["y"]
            width, height = values["width"], values["height"]
        elif edit["action"] == "rotate":
            for _ in range(values["angle"] // 90 % 4):
                x1, y1, x2, y2 = height - y2, x1, height - y1, x2
                width, height = height, width
    return replace(face, box=(x1, y1, x2, y2), width=width, height=height)


ROUTES = (      # as facesets.fake_immich.routes has them
    ("POST", "/auth/login", None, login),
    ("POST", "/auth/logout", "", logout),
    ("POST", "/search/random", "asset.read", at_random),
    ("GET", "/faces", "face.read", faces),
    ("GET", f"/people/{routes.ID}", "person.read", routes_people.person),
    ("PUT", f"/people/{routes.ID}", "person.update", routes_people.rename),
    ("GET", "/albums", "album.read", routes_people.albums),
    ("POST", "/albums", "album.create", routes_people.make_album),
    ("DELETE", f"/albums/{routes.ID}", "album.delete", routes_people.delete_album),
    ("PUT", f"/albums/{routes.ID}/assets", "albumAsset.create", routes_people.add),
    ("DELETE", f"/albums/{routes.ID}/assets", "albumAsset.delete", routes_people.remove),
    ("POST", "/sync/stream", "", routes_sync.stream),
)
routes.COMPILED += [
    (method, re.compile("/api" + path), permission, route) for method, path, permission, route in ROUTES]
