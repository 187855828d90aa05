"""Refusals with words, and secrets and names that stay where they belong."""

import itertools
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest
from busy import LIMIT, slowness
from nasty import NASTY
from stage_lab import CHECKOUT, NEEDED, Lab, laboratory

from facesets.common import files
from facesets.fake_immich.protocol import Reply
from facesets.immich.breaker import AGAIN, TOLD, Breaker
from facesets.immich.client import Stopped


def test_missing_permissions_are_listed_by_name(tmp_path):
    with laboratory(tmp_path, (3, 1, 0)) as lab:
        lab.key = lab.server.add_key(lab.user, ("asset.read", "user.read"))
        run = lab.stage()
        assert run.status == 77
        assert "asset.download, asset.view, face.read" in run.err
        assert not lab.server.log.find("/api/search/*")


def test_a_key_of_2_x_needs_no_face_read(tmp_path):
    with laboratory(tmp_path) as lab:
        lab.key = lab.server.add_key(lab.user, NEEDED[:4])
        assert lab.stage().status == 0


def test_an_admins_key_for_somebody_elses_label_is_refused_and_says_why(tmp_path):
    with laboratory(tmp_path) as lab:
        admin = lab.server.add_user("Admin", admin=True)
        files.write_json(lab.root / "immich" / "users.json", {"peter": lab.user.id})
        lab.key = lab.server.add_key(admin)
        run = lab.stage()
        assert run.status == 77
        assert admin.email in run.err and lab.user.id in run.err and "admin's photos" in run.err
        assert not lab.server.log.find("/api/search/*")


def test_a_label_stays_with_the_user_of_its_first_run(tmp_path):
    with laboratory(tmp_path) as lab:
        assert lab.stage().status == 0
        lab.key = lab.server.add_key(lab.server.add_user("Other"))
        run = lab.stage()
        assert run.status == 77 and "the first run of this label" in run.err


def test_every_run_says_first_whose_library_it_reads(tmp_path):
    with laboratory(tmp_path, (3, 1, 0), lambda lab: lab.add(1)) as lab:
        lab.user.name = "Peter \x1b[31mExample"
        first = lab.stage().err.splitlines()[0]
        assert f"{lab.server.url} is Immich 3.1.0; as peter, reading the library of Peter" in first
        assert lab.user.email in first and "\x1b" not in first
        assert first.endswith("; the key lacks nothing but asset.statistics, which spares requests; "
                              "faces by one request an asset")
        lab.key = lab.server.add_key(lab.user)
        first = lab.stage().err.splitlines()[0]
        assert re.search("; the key lacks nothing; faces by one request an asset, [0-9]+ s with the listing last time$",
                         first)
        lab.extra = {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": lab.user.password, "IMMICH_API_KEY": ""}
        first = lab.stage().err.splitlines()[0]
        assert re.search("; by a login; faces by sync stream, [0-9]+ s with the listing last time by one request an "
                         "asset$", first)
        lab.key, lab.extra = lab.server.add_key(lab.user, NEEDED[:2]), {}
        refused = lab.stage()
        assert refused.status == 77
        assert f"{lab.server.url} is Immich 3.1.0: the key lacks the permissions" in refused.err
        assert ", ".join(NEEDED[2:]) in refused.err


def test_the_last_line_says_what_to_run_next(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: None) as lab:
        where = f" --data-root {lab.root}"      # so that it finds the folder of a variable in another shell, too
        assert lab.stage().err.splitlines()[-1] == f"next: python sort_faces.py status{where}"
        lab.add(1)
        lab.server.faults.add("status", "*/original", status=503)
        left = lab.stage()
        assert left.summary["skipped_download_error"] == 1, left.err
        assert left.err.splitlines()[-1] == "next: python immich_stage.py --user peter --json"
        lab.server.faults.clear()
        dry = lab.stage("--dry-run", "--workers", "2").err.splitlines()[-1]
        assert dry == "next: python immich_stage.py --user peter --json --workers 2"
        for flags in ((), ("--data-root", str(lab.root))):
            assert lab.stage(*flags).err.splitlines()[-1] == f"next: bash finalize_immich.sh peter{where}"


def test_a_label_is_bound_by_a_run_that_staged_and_can_be_given_to_another_user(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(2)) as lab:
        peters, admin = lab.key, lab.server.add_user("Admin", admin=True)
        lab.one(user=admin)
        lab.key = lab.server.add_key(admin)
        assert lab.stage("--dry-run").status == 0           # binds nothing
        lab.key = peters
        lab.server.faults.add("status", "*/search/metadata", status=503, times=40)
        assert lab.stage().status == 2                      # nor does a run that could not list
        lab.server.faults.clear()
        lab.key = lab.server.add_key(admin)
        assert lab.stage().summary["staged_count"] == 1     # the mistake
        lab.key = peters
        refused = lab.stage()
        assert refused.status == 77 and "--rebind" in refused.err
        assert lab.stage("--rebind").summary["staged_count"] == 2
        assert lab.stage().summary["staged_count"] == 2 and len(lab.entries()) == 2
        lab.key = lab.server.add_key(admin)
        assert lab.stage().status == 77


def test_an_old_server_is_told_to_be_updated(tmp_path):
    with laboratory(tmp_path, (1, 144, 1)) as lab:
        run = lab.stage()
        assert run.status == 1 and "Immich 1.144.1" in run.err and "2.0" in run.err


def test_a_wrong_login_is_refused(tmp_path):
    with laboratory(tmp_path) as lab:
        lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": "not the password"}
        run = lab.stage()
        assert run.status == 77 and "IMMICH_PASSWORD" in run.err and "not the password" not in run.err


@pytest.mark.parametrize(("url", "says"), [
    ("", "export IMMICH_URL"), ("photos.example.org", "must look like"), ("ftp://x", "must look like"),
    ("https://user:secret@x", "user name or password"), ("https://x:99999999", "must look like"),
    ("https://", "must look like")])
def test_a_url_that_is_none_is_refused(url, says, tmp_path):
    with laboratory(tmp_path) as lab:
        lab.extra["IMMICH_URL"] = url
        run = lab.stage()
        assert run.status == 78 and says in run.err and "secret" not in run.err


@pytest.mark.parametrize("ending", ["/", "/api", "/api/"])
def test_the_url_may_end_in_api(ending, tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(1)) as lab:
        lab.extra["IMMICH_URL"] = lab.server.url + ending
        assert lab.stage().status == 0


@pytest.mark.parametrize(("flags", "status"), [
    (["--workers", "0"], 78), (["--workers", "x"], 78), (["--wait-for-server", "soon"], 64), (["--user", "../x"], 64),
    (["--key", "x"], 64), (["--windows-shares", "X:=/mnt"], 78)])
def test_a_command_line_that_makes_no_sense_is_refused_in_one_line(flags, status, tmp_path):
    with laboratory(tmp_path) as lab:
        run = lab.stage(*flags)
        assert run.status == status and run.err.count("\n") == 1


def test_help_is_the_manual():
    shown = subprocess.run([sys.executable, CHECKOUT / "immich_stage.py", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    for word in ("queue.json", "IMMICH_API_KEY_FILE", "--wait-for-server", "Exit    0 done"):
        assert word in shown.stdout


@pytest.mark.parametrize("login", [False, True])
def test_the_key_and_the_password_are_in_no_file_and_no_output(login, tmp_path):
    """Through a run with every kind of failure, printed with tracebacks."""
    with laboratory(tmp_path) as lab:
        lab.user.password = secret = "Geheimes-Passwort-17"
        if login:
            lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": secret, "IMMICH_API_KEY": ""}
        lab.extra["FACESETS_DEBUG"] = "1"
        for kind in ("reset", "stop", "html", "wrong_bytes", "redirect", "status"):
            lab.server.faults.add(kind, "*/original", times=2, location="http://localhost:9/")
        lab.server.faults.add("status", "*/original", skip=20, status=401)
        run = lab.finish(lab.start())
        assert run.status == 77
        text = run.out + run.err
        secrets = [lab.key.encode(), secret.encode(), *(token.encode() for token in lab.server.library.sessions)]
        assert not any(word.decode() in text for word in secrets)
        written = [path for path in lab.root.rglob("*") if path.is_file()]
        assert len(written) > 5
        assert [path for path in written if any(word in path.read_bytes() for word in secrets)] == []
        assert bool(lab.server.library.sessions) is False       # the login is closed


def test_the_key_goes_to_no_other_host_even_if_a_redirect_asks_for_it(tmp_path):
    with laboratory(tmp_path) as lab, laboratory(tmp_path / "other") as thief:
        target = thief.server.url.replace("127.0.0.1", "localhost")
        lab.server.faults.add("redirect", "*/original", location=f"{target}/api/assets/x/original")
        run = lab.stage()
        assert run.status == 2 and "where the key is not sent" in run.err
        assert len(thief.server.log) == 0


def test_a_redirect_to_what_is_not_http_is_not_followed_and_no_fault_of_the_settings(tmp_path):
    with laboratory(tmp_path) as lab:
        lab.server.faults.add("redirect", "*/original", location=f"{lab.server.url.replace('http', 'gopher')}/x")
        run = lab.stage()
        assert run.status == 2 and "it redirects to" in run.err and "IMMICH_URL" not in run.err, run.err


def test_a_redirect_on_the_same_host_is_followed(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(2)) as lab:
        lab.server.faults.add("redirect", "/api/users/me", times=1, location="/api/users/me?again")
        assert lab.stage().status == 0


def hostile(lab: Lab) -> None:
    for number, name in enumerate(NASTY):
        lab.one(name=name.encode("utf-8", "replace").decode(), path=f"/data/{number}", number=1000 + number)
    for name in ("Photo.JPG", "photo.jpg", "PHOTO.jpg", "Ä.jpg", "A\u0308.jpg"):
        lab.one(name=name)
    person = lab.server.add_person(lab.user, "\x1b]0;owned\x07<script>")
    asset = lab.one(name="person.jpg", faces=0)
    lab.server.library.add_face(asset, lab.server.face((0, 0, 99, 99), 100, 100, person))


def test_names_of_the_server_never_leave_the_photo_folder_nor_collide(tmp_path):
    with laboratory(tmp_path, fill=hostile) as lab:
        lab.server.faults.add("status", "*/original", every=9, times=8, status=500)
        run = lab.stage()
        assert run.status == 0, run.err
        names = [path.name for path in lab.photos]
        assert len(names) == len(NASTY) + 6 == run.summary["staged_count"]
        assert all(re.fullmatch(r"[0-9a-f]{64}\.jpg", name) for name in names)
        assert {entry["name"] for entry in lab.entries()} >= {"Photo.JPG", "photo.jpg", "A\u0308.jpg", "a/b\\c.jpg"}
        assert {path for path in tmp_path.rglob("*") if path.is_file()} >= set(lab.photos)
        assert "\x1b" not in run.err
        outside = [path for path in tmp_path.rglob("*") if path.is_file() and lab.root not in path.parents]
        assert outside == []
        for path in lab.root.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path


def test_photos_on_a_share_have_the_path_that_windows_sees(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(2)) as lab:
        lab.extra |= {"STAGE_DIR": str(tmp_path / "nas"), "FACESETS_WINDOWS_SHARES": f"{tmp_path}/nas=X:"}
        assert lab.stage().status == 0
        for entry in lab.entries():
            assert entry["path"].startswith(f"{tmp_path}/nas/peter/photos/")
            assert entry["win_path"] == "X:" + entry["path"].removeprefix(f"{tmp_path}/nas").replace("/", "\\")


def test_a_login_may_lie_in_a_private_file(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(2)) as lab:
        path = tmp_path / "login"
        path.write_text(f"IMMICH_EMAIL={lab.user.email}\nIMMICH_PASSWORD='{lab.user.password}'\n")
        lab.extra |= {"IMMICH_LOGIN_FILE": str(path), "IMMICH_API_KEY": ""}
        assert lab.stage().status == 78
        path.chmod(0o600)
        assert lab.stage().status == 0


def test_the_server_is_left_alone_as_long_as_it_asks(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(6)) as lab:
        lab.server.faults.add("status", "*/original", times=1, status=429, retry_after=0.7)
        assert lab.stage("--workers", "1").status == 0
        refused, next_one = lab.server.log.find("*/original")[:2]
        assert next_one.began - refused.began >= 0.7


def test_a_long_wait_that_the_server_asks_for_is_told_once_with_its_end_by_those_who_wait():
    told, waited = [], []
    breaker = Breaker(8, tell=told.append)

    def pause(seconds):
        waited.append(seconds)
        if len(waited) == 16:
            raise Stopped
    breaker.pause = pause
    for _ in range(8):
        breaker.failed("429 Too Many Requests", 300)
    assert told == [], "nobody waits: it was the last attempt"
    with pytest.raises(Stopped):
        breaker.enter()
    assert len(told) == 1
    assert re.search(r"a pause \(429 Too Many Requests\): waiting 300 s, until \d\d:\d\d:\d\d", told[0])


def test_a_pause_is_told_though_it_ends_before_another_request_was_to_be_given_up():
    told = []
    breaker = Breaker(8, tell=told.append)
    breaker.waits(AGAIN, "503 Service Unavailable", 100)
    breaker.failed("429 Too Many Requests", 40)
    breaker.pause = _stopped
    with pytest.raises(Stopped):
        breaker.enter()
    assert len(told) == 2 and "waiting 40 s" in told[1]


def _stopped(_):
    raise Stopped


def test_once_the_server_is_back_no_wait_is_told_for_what_failed_while_it_was_away(tmp_path):
    with laboratory(tmp_path) as lab:
        lab.extra["FACESETS_RETRY_PAUSE"] = "0.1"
        lab.server.faults.add("down", "*/original", skip=4, times=1)
        process = lab.start("--wait-for-server", f"{LIMIT:.0f}s")
        assert any("waiting up to" in line for line in process.stderr)
        time.sleep(TOLD)        # so that each request has waited for longer than what is told
        lab.server.up()
        run = lab.finish(process)
        _, back, after = run.err.partition("the server is back")
        assert run.status == 0 and back and "asking again" not in after, run.err


@pytest.mark.parametrize("asked", [{}, {"retry_after": 4}, {"retry_after": 10}], ids=["no pause", "short", "longer"])
def test_who_waits_for_a_server_that_asks_for_no_long_pause_reads_it_before_the_end(asked, tmp_path):
    with laboratory(tmp_path) as lab:
        lab.extra["FACESETS_RETRY_PAUSE"] = "8"
        lab.server.faults.add("status", "*/search/metadata", status=503, **asked)
        process, began = lab.start(), time.time()
        line = next(line for line in process.stderr if "asking again" in line)
        assert "(503 Service Unavailable): asking again, if need be until " in line
        assert len(lab.server.log.find("*/search/metadata")) < 3
        until = line.split()[-1]
        ends = {time.strftime("%H:%M:%S", time.localtime(second))
                for second in range(int(began) + 264, int(time.time()) + 365)}
        assert until in ends        # 8 + 16 seconds, and 8 times 30, and what the attempts take
        process.send_signal(signal.SIGINT)
        assert lab.finish(process).status == 2


def test_a_server_that_is_given_up_is_not_asked_more_slowly(tmp_path):
    with laboratory(tmp_path) as lab:
        lab.server.faults.add("status", "*/search/metadata", status=503)
        run = lab.stage()
        assert run.status == 2 and "503" in run.err and "more slowly" not in run.err


@pytest.mark.parametrize("asked", [300, 1e9], ids=["as asked", "never longer"])
def test_who_waits_at_the_terminal_reads_how_long_and_until_when(asked, tmp_path):
    with laboratory(tmp_path) as lab:
        lab.server.faults.add("status", "*/search/metadata", status=429, retry_after=asked)
        process, began = lab.start(), time.time()
        line = next(line for line in process.stderr if "asks for a pause" in line)
        told = re.search(r"waiting (\d+) s, until (\d\d:\d\d:\d\d)$", line.rstrip())
        ends = {time.strftime("%H:%M:%S", time.localtime(second))
                for second in range(int(began) + 300, int(time.time()) + 301)}
        assert told[1] == "300" and told[2] in ends
        process.send_signal(signal.SIGINT)
        assert lab.finish(process).status == 2


def test_json_on_stdout_is_one_object_and_nothing_else(tmp_path):
    with laboratory(tmp_path) as lab:
        run = lab.finish(lab.start())
        assert json.loads(run.out)["total_assets_seen"] == 37 and run.out.count("\n") == 1


@pytest.mark.parametrize("url", ["http://photos.invalid", "HTTP://photos.invalid", "http://127.0.0.1.invalid"])
def test_plain_http_to_another_machine_warns(url, tmp_path):
    with laboratory(tmp_path) as lab:
        lab.extra["IMMICH_URL"] = url
        assert "not encrypted" in lab.stage().err


def test_what_is_asked_of_this_machine_goes_through_no_proxy(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(1)) as lab, socket.create_server(("127.0.0.1", 0)) as proxy:
        lab.extra |= dict.fromkeys(("http_proxy", "all_proxy"), f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert lab.stage().status == 0
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


@pytest.mark.parametrize(("extra", "flags", "status", "says"), [
    ({"all_proxy": "socks5://127.0.0.1:9"}, (), 78, "PySocks"),
    ({"http_proxy": "http://"}, (), 78, "the proxy that the environment sets"),
    ({"http_proxy": "http://127.0.0.1:9"}, (), 2, "proxy that the environment sets does not let us through"),
    ({"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}, (), 78, "REQUESTS_CA_BUNDLE /nowhere/ca.pem"),
    ({}, ("--ca-file", "/nowhere/ca.pem"), 78, "--ca-file /nowhere/ca.pem"),
    ({}, ("--ca-file", "/etc"), 78, "--ca-file /etc is no file of certificates"),
    ({}, ("--ca-file", "/etc/passwd"), 78, "there is no certificate in it")])
def test_a_way_to_the_server_that_leads_nowhere_is_said_in_one_line(extra, flags, status, says, tmp_path):
    with laboratory(tmp_path) as lab:
        lab.extra |= {"IMMICH_URL": "http://photos.invalid", **extra}
        run = lab.stage(*flags)
        assert run.status == status and says in run.err.splitlines()[-1], run.err
        assert "a bug" not in run.err


def test_a_redirect_in_a_circle_is_said(tmp_path):
    with laboratory(tmp_path) as lab:
        lab.server.faults.add("redirect", "*", location="/api/server/ping")
        run = lab.stage()
        assert run.status == 2 and "redirects in a circle" in run.err


def test_the_403_of_a_firewall_is_no_refusal_of_the_key(tmp_path):
    page = Reply(403, b"<html><body>Attention required</body></html>", "text/html")
    with laboratory(tmp_path, fill=lambda lab: lab.add(1)) as lab:
        route = lab.server.route
        lab.server.route = lambda call: page
        run = lab.stage()
        assert run.status == 2 and "a proxy or firewall in between refuses this, not Immich" in run.err
        lab.server.route = lambda call: page if call.path.endswith("original") else route(call)
        assert lab.stage().summary["skipped_download_error"] == 1


def test_cookies_that_a_proxy_sets_are_not_kept_by_the_threads_that_share_them(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(40)) as lab:
        route, number = lab.server.route, itertools.count()

        def with_cookie(call):
            reply = route(call)
            reply.headers["Set-Cookie"] = f"visit{next(number)}=1; Path=/"
            return reply
        lab.server.route = with_cookie
        run = lab.stage("--workers", "8")
        assert run.status == 0, run.err
        assert len(lab.server.log) > 40 and not any("cookie" in request.headers for request in lab.server.log)


def test_the_reason_of_a_request_that_is_not_valid_is_told(tmp_path):
    """3.x says only "Validation failed", and what is not valid beside it."""
    body = b'{"message":"Validation failed","errors":[{"code":"too_big","path":["filter","size"],"message":"Too big"}]}'
    with laboratory(tmp_path, (3, 1, 0)) as lab:
        route = lab.server.route
        lab.server.route = lambda call: Reply(400, body) if call.path.endswith("metadata") else route(call)
        run = lab.stage()
        assert run.status == 2 and "400 Validation failed; filter.size: Too big" in run.err


def test_a_stream_of_faces_without_lines_fills_no_memory(tmp_path):
    with laboratory(tmp_path, (3, 1, 0), lambda lab: lab.add(1)) as lab:
        lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": lab.user.password, "IMMICH_API_KEY": "",
                      "FACESETS_READ_TIMEOUT": "30"}
        route = lab.server.route
        lab.server.route = lambda call: Reply(200, b"x" * (20 << 20), "application/jsonlines+json") \
            if call.path.endswith("stream") else route(call)
        run = lab.stage()
        assert run.status == 2 and "a line without end" in run.err


def test_a_rejected_asset_is_asked_for_again_only_when_wanted(tmp_path):
    def fill(lab: Lab) -> None:
        lab.add(2)
        lab.one(name="hopeless.jpg", content=b"no picture at all" * 50, width=400, height=400, side=400)
    with laboratory(tmp_path, fill=fill) as lab:
        assert lab.stage().summary["skipped_download_error"] == 1
        bad = next(asset for asset in lab.server.library.assets.values() if asset.name == "hopeless.jpg")
        lab.server.faults.add("status", f"*/{bad.id}/thumbnail", status=400)
        lab.stage()
        lab.server.log.clear()
        assert lab.stage().summary["skipped_download_error"] == 1
        assert lab.asked()["original"] == 0         # given up: it was refused for good
        lab.stage("--retry-rejected")
        assert lab.asked()["original"] == 1


def test_netrc_is_not_read(tmp_path):
    """requests would send what it says about the host instead of, or beside, the key."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login peter password from-netrc\n")
    (tmp_path / "netrc").chmod(0o600)
    with laboratory(tmp_path, fill=lambda lab: lab.add(1)) as lab:
        lab.extra["NETRC"] = str(tmp_path / "netrc")
        assert lab.stage().status == 0
        assert not [request for request in lab.server.log if "authorization" in request.headers]


def test_a_silent_server_does_not_keep_a_login_that_is_stopped(tmp_path):
    """The session is closed if the server answers soon; else it ends by itself."""
    with laboratory(tmp_path) as lab:
        lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": lab.user.password, "IMMICH_API_KEY": "",
                      "FACESETS_READ_TIMEOUT": f"{2 * LIMIT}"}
        lab.server.faults.add("delay", "*", seconds=2 * LIMIT, skip=12)
        process = lab.start()
        lab.wait_for("*", 13)
        slow, began = slowness(), time.monotonic()
        process.send_signal(signal.SIGINT)
        assert lab.finish(process).status == 2
        assert time.monotonic() - began < 10 * max(slow, slowness())


def test_a_400_to_the_probe_says_nothing_about_the_photos(tmp_path):
    """A proxy that answers so for everything."""
    with laboratory(tmp_path) as lab:
        calm = lab.undisturbed()
        lab.server.faults.add("status", "*/original", status=500)
        lab.server.faults.add("status", "/api/users/me", status=400, skip=1)
        run = lab.stage()
        assert run.status == 2 and "the server is away (400" in run.err, run.err
        assert "rejected" not in run.err and "refused" not in run.err
        lab.server.faults.clear()
        assert lab.stage().status == 0
        assert lab.queue() == calm


def test_a_photo_that_takes_long_costs_no_new_connection(tmp_path):
    """Immich closes a connection that idles for five seconds; one that is at work does not idle."""
    with laboratory(tmp_path, fill=lambda lab: lab.add(4)) as lab:
        lab.extra["FACESETS_READ_TIMEOUT"] = "60"
        lab.server.faults.add("delay", "*/original", seconds=4.5, times=1)
        assert lab.stage("--workers", "1").status == 0
        assert lab.server.log.connections == 1


def test_a_data_root_that_links_to_nothing_is_said_to(tmp_path):
    with laboratory(tmp_path) as lab:
        lab.root.symlink_to(tmp_path / "not mounted")
        run = lab.stage()
        assert run.status == 1 and "which is not there; is a disk not mounted?" in run.err
        assert "bug" not in run.err


@pytest.mark.parametrize("tables", [(), ("meta",), ("meta", "assets", "photos")])
def test_another_users_first_run_at_the_same_time_is_no_obstacle(tables, tmp_path):
    """Its database is being made just now."""
    with laboratory(tmp_path) as lab:
        other = files.private_folder(lab.root / "immich" / "maria") / "state.db"
        with sqlite3.connect(other) as db:
            for name in tables:
                db.execute(f"CREATE TABLE {name} (key TEXT)")
        db.close()
        assert lab.stage().status == 0


def test_a_listing_that_was_cut_off_does_not_make_rejected_assets_be_asked_for_again(tmp_path):
    def fill(lab: Lab) -> None:
        lab.add(2)
        lab.one(name="hopeless.jpg", content=b"no picture at all" * 50, width=400, height=400, side=400)
    with laboratory(tmp_path, fill=fill) as lab:
        bad = next(asset for asset in lab.server.library.assets.values() if asset.name == "hopeless.jpg")
        lab.server.faults.add("status", f"*/{bad.id}/thumbnail", status=400)
        assert lab.stage().status == 0
        for _ in range(2):
            lab.server.faults.add("status", "/api/search/metadata", status=500)
            assert lab.stage().status == 2
            lab.server.faults.clear()
        lab.server.log.clear()
        run = lab.stage()
        assert run.status == 0 and run.summary["skipped_download_error"] == 1
        assert lab.asked()["original"] == 0


def test_files_of_photos_that_the_server_no_longer_has_are_counted_and_removed_when_wanted(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(3)) as lab:
        lab.stage()
        lab.server.delete_asset(next(iter(lab.server.library.assets.values())))
        for flags, left in (((), 3), (("--prune", "--dry-run"), 3), (("--prune",), 2)):
            run = lab.stage(*flags)
            assert run.status == 0 and run.summary["orphaned_files"] == 1, (flags, run.err)
            assert len(lab.photos) == left and len(lab.entries()) == 2
        assert lab.stage().summary["orphaned_files"] == 0


def test_a_run_that_ends_before_it_listed_sums_up_nothing_and_leaves_the_last_summary(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(2)) as lab:
        assert lab.stage().status == 0
        last = (lab.user_dir / "summary.json").read_bytes()
        (lab.user_dir / "photos").rename(tmp_path / "unmounted")
        run = lab.stage()
        assert run.status == 1 and run.out == "" and "is the share mounted" in run.err
        assert (lab.user_dir / "summary.json").read_bytes() == last
