"""The page's side of the review: a small server on this machine, for the one person who has its link.

It binds 127.0.0.1 only. The link holds a token that works once and becomes a cookie; whoever has not the cookie gets
nothing. Host and Origin must be ours, so that no other page, under whatever name, can ask or answer. Faces are asked
for by the first digits of a hash of their key, never by a path.

bottle and waitress: one small module without dependencies each, released for over ten years, no build step; the server
hands out five kinds of replies, and a framework with a loop of its own would be more than it does.
"""

import hmac
import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bottle
from waitress import wasyncore
from waitress.server import create_server

from ..common.errors import Failure, UsageError
from ..report import make
from . import pictures
from .desk import Desk, Stale
from .holdings import Holdings
from .people import Loose
from .questions import Question, alike

PAGE = Path(__file__).parent / "page"
FILES = {"review.css": PAGE, "review.js": PAGE, "page.css": make.TEMPLATES, "make.js": make.TEMPLATES}
POLICY = ("default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
          "trusted-types 'none'")
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
           "Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin",
           "Cross-Origin-Resource-Policy": "same-origin"}
BODY = 1 << 16      # bytes of an answer; the longest has 12 digits for each face of a faceset
THREADS = 16        # a browser asks for six pictures at once, and an answer must not wait behind those of two tabs
AT_WORK = 2         # of them that cut pictures out, so that answers have a processor
TURN = 0.0005       # seconds that what goes on behind may hold the interpreter while an answer waits for it
CONNECTIONS = 500   # at once: a browser opens six for each tab, and select takes 1024
HANGS = 30          # seconds until a connection that says nothing is closed
IDLE = 1800.0       # seconds without a request after which the server ends
AHEAD = 10          # pictures of the next question that the page fetches before it is asked


class Server:
    def __init__(self, desk: Desk, holdings: Holdings, idle: float = IDLE,
                 clock: Callable[[], float] = time.monotonic, folders: str = "") -> None:
        """`folders`: the flags that the next command needs, to find the same ones."""
        self.desk, self.holdings, self.idle, self.clock, self.folders = desk, holdings, idle, clock, folders
        self.ended, self._token, self._cookie = False, secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._map: dict[int, Any] = {}
        self._cutting = threading.BoundedSemaphore(AT_WORK)
        logging.getLogger("waitress").setLevel(logging.ERROR)       # it would say how many pictures are asked for
        self._server = create_server(self._app(), map=self._map, host="127.0.0.1", port=0, threads=THREADS, ident=None,
                                     connection_limit=CONNECTIONS, channel_timeout=HANGS,
                                     max_request_body_size=BODY, max_request_header_size=1 << 14,
                                     clear_untrusted_proxy_headers=True)
        self.port = int(self._server.effective_port)
        self.origin = f"http://127.0.0.1:{self.port}"
        self.heard = clock()

    @property
    def link(self) -> str:
        return f"{self.origin}/start/{self._token}"

    def run(self) -> None:
        """Serve until nobody asks any more, or until `ended`; then carry out what was said."""
        sys.setswitchinterval(TURN)
        try:
            while not self.ended and self.clock() - self.heard < self.idle:
                wasyncore.loop(timeout=0.5, map=self._map, count=1)
        finally:
            self._server.task_dispatcher.shutdown()
            wasyncore.close_all(self._map)
            self.desk.end()

    def show(self) -> None:
        """Open the link in a window: in WSL in the browser of Windows, else where there is a screen. Waits for nothing.

        A browser in the terminal is none: it knows no script, and nothing would be served while it runs.
        """
        screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        for program in ("wslview", "explorer.exe", *(["xdg-open"] if screen else [])):
            if shutil.which(program):
                subprocess.Popen([program, self.link], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, start_new_session=True)
                return

    def _app(self) -> bottle.Bottle:
        app = bottle.Bottle()
        app.add_hook("before_request", self._admit)
        app.add_hook("after_request", lambda: [bottle.response.set_header(*header) for header in HEADERS.items()])
        app.default_error_handler = self._error
        app.get("/start/<token>", callback=self._start)
        app.get("/", callback=lambda: bottle.static_file("review.html", PAGE))
        app.get("/<name:re:[a-z]+[.](css|js)>", callback=self._file)
        app.get("/face/<face:re:[0-9a-f]{12}>", callback=lambda face: self._picture(pictures.tile, face))
        app.get("/photo/<face:re:[0-9a-f]{12}>", callback=lambda face: self._picture(pictures.whole, face))
        app.get("/favicon.ico", callback=lambda: bottle.HTTPResponse(status=204))
        app.get("/now", callback=self._now)
        app.post("/answer", callback=lambda: self._post(lambda sent: self.desk.say(
            sent.get("answer"), str(sent.get("question")), sent.get("version"))))
        app.post("/later", callback=lambda: self._post(lambda sent: self.desk.put_off(
            str(sent.get("question")), sent.get("version"))))
        app.post("/undo", callback=lambda: self._post(lambda sent: self.desk.undo(sent.get("version"))))
        return app

    def _admit(self) -> None:
        """Refuse every request that is not our own page's."""
        request = bottle.request
        if request.get_header("Host") != f"127.0.0.1:{self.port}":
            bottle.abort(421, "this is not the host that you asked for")
        if request.method == "POST" and (request.get_header("Origin") != self.origin
                                         or request.content_type.partition(";")[0] != "application/json"):
            bottle.abort(403, "only the page of the review may answer")
        if not request.path.startswith("/start/") and not self._known():
            bottle.abort(403, "open the link that the review printed")
        self.heard = self.clock()

    def _known(self) -> bool:
        return hmac.compare_digest(bottle.request.get_cookie(f"review{self.port}") or "", self._cookie)

    def _start(self, token: str) -> None:
        if not self._known():
            if not self._token or not hmac.compare_digest(token.encode(), self._token.encode()):
                bottle.abort(403, "this link was used already, or is not whole; start the review again for a new one")
            self._token = ""
            bottle.response.set_cookie(f"review{self.port}", self._cookie, httponly=True, samesite="strict", path="/")
        bottle.response.status = 303
        bottle.response.set_header("Location", "/")

    def _file(self, name: str, **_: str) -> Any:
        return bottle.static_file(name, FILES[name]) if name in FILES else bottle.abort(404, "there is no such file")

    def _picture(self, make_it: Callable[[Any, Path], bytes], name: str) -> bytes:
        face = self.holdings.faces.get(name)
        with self._cutting:
            data = make_it(face, self.holdings.library.root) if face else b""
        if not data:
            bottle.abort(404, "this picture cannot be read now")
        bottle.response.content_type = "image/webp"
        return data

    def _post(self, act: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        try:
            sent = json.loads(bottle.request.body.read(BODY))
            if not isinstance(sent, dict):
                raise UsageError("that is no answer")
            said = act(sent)
            return {**self._now(), "said": said}
        except Stale:
            bottle.response.status = 409
            return self._now()
        except (ValueError, RecursionError, Failure, OSError) as error:    # a disk that is full, or away
            bottle.response.status = 400
            return {"problem": str(error)[:300]}

    def _now(self) -> dict[str, Any]:
        """All that the page shows now."""
        with self.desk.changed:
            questions, outlook = self.desk.current()
            books = self.desk.books
            return {"version": self.desk.version, "right": outlook.right, "left": outlook.left, "open": outlook.open,
                    "back": len(self.desk.past), "waiting": self.desk.waiting(), "problem": self.desk.problem,
                    "folders": self.folders,
                    "question": self._shown(questions[0]) if questions else None,
                    "next": self._faces(questions[1])[:AHEAD] if len(questions) > 1 else [],
                    "names": {person.name or person.proposed: folder for folder, person in books.people.items()
                              if person.name or person.proposed}}

    def _shown(self, question: Question) -> dict[str, Any]:
        books = self.desk.books
        person, loose = books.people.get(question.about), books.loose.get(question.about)
        faces = self._faces(question)
        return {"id": question.id, "kind": question.kind, "about": question.about,
                "title": person.title if person else "", "name": person.name if person else "",
                "proposed": person.proposed if person else "", "count": len(faces),
                "reason": self._reason(loose) if loose else "", "suspects": list(question.suspects),
                "faces": [self._face(face) for face in faces],
                "years": self._years(faces),
                "alike": [{"folder": folder, "title": books.people[folder].title, "distance": round(distance, 2),
                           "count": len(books.people[folder].faces), "faces": books.people[folder].faces[:6]}
                          for folder, distance in alike(books, question)]}

    def _reason(self, loose: Loose) -> str:
        """Why faces lie in no faceset."""
        people = self.desk.books.people
        near = " as ".join(f"to {people[folder].title}" for folder in loose.among if folder in people)
        return f"as near {near}" if " as " in near else loose.reason

    def _faces(self, question: Question) -> list[str]:
        """The odd ones first."""
        books = self.desk.books
        person = books.people.get(question.about) if question.kind != "loose" else None
        if person is None:
            return list(question.suspects)
        if question.kind == "same":
            return list(person.faces)
        return [*question.suspects, *(face for face in person.faces if face not in set(question.suspects))]

    def _face(self, name: str) -> dict[str, str]:
        face = self.holdings.faces[name]
        sha256 = face.key[:64]
        server = self.holdings.servers.get(face.asset_id, "")
        return {"id": name, "taken": face.taken_at[:10], "user": face.user, "why": face.why,
                "file": self.holdings.names.get(sha256) or Path(face.photo).name,
                "link": f"{server.rstrip('/')}/photos/{face.asset_id}" if server.startswith("http") else ""}

    def _years(self, faces: list[str]) -> dict[str, int]:
        years = Counter(self.holdings.faces[face].taken_at[:4] for face in faces)
        return {year: years[year] for year in sorted(years) if year.isdecimal()}

    def _error(self, error: bottle.HTTPError) -> str:
        bottle.response.content_type = "text/plain; charset=utf-8"
        for header in HEADERS.items():
            bottle.response.set_header(*header)
        return f"{error.body}\n"
