"""What can go wrong around a stage run: each fault as what is done to a laboratory, and how the run must end.

A scenario disturbs one run, is mended, and the same command is repeated: it must end like an undisturbed run.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from busy import LIMIT, slowness
from stage_lab import Lab, Run, laboratory, small_library
from stage_tls import authority, context

DONE, FAILED, PAUSED, NOT_ALLOWED, SETTINGS = 0, 1, 2, 77, 78


@dataclass(frozen=True)
class Scenario:
    name: str
    disturb: Callable[[Lab], Run]           # do the harm and run
    status: int                             # how that run ends
    says: str = ""                          # what its messages must contain
    left: int | None = None                 # assets it leaves for the next run, where it is done
    version: tuple[int, int, int] = (2, 7, 2)
    tls: str = ""                           # kind of the server's certificate
    fill: Callable[[Lab], object] = small_library


@dataclass
class Outcome:
    """What one scenario showed, as a row of the table."""

    name: str
    status: int
    message: str
    asked: Counter[str]
    hit: int                    # requests that met the fault
    photos: int
    parts: int
    queue: bool                 # a queue.json was written
    again: int                  # status of the repeated command
    again_asked: Counter[str] = field(default_factory=Counter)
    same: bool = False          # its queue.json is that of an undisturbed run
    run: Run | None = None


def play(scenario: Scenario, folder: Path) -> Outcome:
    options = {"tls": context(authority(folder), scenario.tls)} if scenario.tls else {}
    with laboratory(folder, scenario.version, scenario.fill, **options) as lab:
        if scenario.tls:
            lab.extra["FACESETS_CA_FILE"] = str(folder / "authority.pem")
        calm = b"" if scenario.tls in ("expired", "wrong host") else lab.undisturbed()
        run = scenario.disturb(lab)
        message = next((line for line in reversed(run.err.splitlines()) if line.startswith("immich_stage")), "")
        hit = sum(bool(one.fault) for one in lab.server.log)
        outcome = Outcome(scenario.name, run.status, message, lab.asked(), hit, len(lab.photos),
                           len(lab.parts), (lab.user_dir / "queue.json").exists(), 0, run=run)
        mend(lab, scenario.tls)
        calm = calm or lab.undisturbed()
        again = lab.stage()
        outcome.again, outcome.again_asked = again.status, lab.asked()
        outcome.same = again.status == DONE and lab.queue() == calm
        return outcome


def mend(lab: Lab, tls: str) -> None:
    lab.server.faults.clear()
    lab.server.library.mounted = True
    lab.extra = {}
    if tls:
        lab.server.down()
        lab.server.tls = context(authority(lab.folder), "good")
        lab.extra["FACESETS_CA_FILE"] = str(lab.folder / "authority.pem")
    lab.server.up()
    lab.server.log.clear()


def with_fault(kind: str, path: str = "*/original", *flags: str, **options: object) -> Callable[[Lab], Run]:
    def disturb(lab: Lab) -> Run:
        lab.server.faults.add(kind, path, **options)
        return lab.stage(*flags)
    return disturb


def with_setting(**extra: str) -> Callable[[Lab], Run]:
    def disturb(lab: Lab) -> Run:
        lab.extra |= extra
        return lab.stage()
    return disturb


def uploads(lab: Lab) -> None:
    """Wrong bytes of a right length in an external library are beyond telling: its checksums are of paths."""
    lab.add(20)


def large_photos(lab: Lab) -> None:
    lab.add(4)
    lab.add(2, side=900, face_px=300)


def away(lab: Lab) -> Run:
    lab.server.down()
    return lab.stage()


def away_for_a_while(lab: Lab) -> Run:
    lab.server.faults.add("down", "*/original", skip=4, times=1)
    return back_once_it_waits(lab)


def away_at_first(lab: Lab) -> Run:
    lab.server.down()
    return back_once_it_waits(lab)


def back_once_it_waits(lab: Lab) -> Run:
    """A run that says that it waits for the server, which then comes back."""
    process = lab.start("--wait-for-server", f"{LIMIT:.0f}s")
    assert process.stderr and process.stdout
    said = ""
    while "waiting up to" not in said and (line := process.stderr.readline()):
        said += line
    lab.server.up()
    said += process.stderr.read()
    return Run(process.wait(LIMIT), process.stdout.read(), said)


def unmounted(lab: Lab) -> Run:
    lab.server.library.mounted = False
    return lab.stage()


def signalled(number: int, path: str = "*/original", skip: int = 6) -> Callable[[Lab], Run]:
    """Send a signal once the server was asked `skip` times for `path`, while the answers come slowly."""
    def disturb(lab: Lab) -> Run:
        lab.server.faults.add("stall", path, seconds=2 * LIMIT, skip=skip + 1)
        lab.server.faults.add("delay", path, seconds=0.05)
        process = lab.start()
        lab.wait_for(path, skip)
        slow, began = slowness(), time.monotonic()
        process.send_signal(number)
        run = lab.finish(process)
        if number != signal.SIGKILL:
            # two on a machine of its own; whoever waits for the server waits for minutes
            assert time.monotonic() - began < 10 * max(slow, slowness())
        return run
    return disturb


def stalled(lab: Lab) -> Run:
    lab.extra["FACESETS_READ_TIMEOUT"] = "2"
    return with_fault("stall", times=2, seconds=LIMIT)(lab)


def full_disk(lab: Lab) -> Run:
    return lab.finish(lab.start(limit=500_000))


def two_at_once(lab: Lab) -> Run:
    lab.server.faults.add("delay", "*/original", seconds=2)      # it has not ended when it is stopped
    first = lab.start()
    lab.wait_for("*/original", 1)
    first.send_signal(signal.SIGSTOP)
    lab.server.faults.clear()
    second = lab.stage()
    first.send_signal(signal.SIGCONT)
    assert lab.finish(first).status == DONE
    return second


def key_revoked(lab: Lab) -> Run:
    lab.server.faults.add("status", "*/original", skip=5, status=401)
    return lab.stage()


def deleted_meanwhile(lab: Lab) -> Run:
    """Gone between the listing and its download: the repeated run no longer knows of it."""
    gone = lab.one(number=8001, taken="2022-12-31T00:00:00")
    first = lab.server.library.assets
    lab.server.faults.add("delay", "*/original", seconds=0.02)
    process = lab.start()
    lab.wait_for("*/original", 1)
    if gone.id in first:
        lab.server.delete_asset(gone)
    return lab.finish(process)


def photos_unmounted(lab: Lab) -> Run:
    assert lab.stage().status == DONE
    photos = lab.user_dir / "photos"
    photos.rename(lab.folder / "elsewhere")
    lab.server.log.clear()
    run = lab.stage()
    (lab.folder / "elsewhere").rename(photos)
    return run


def hung_up_keep_alive(lab: Lab) -> Run:
    """The server drops idle connections at once, as Immich does after 5 s."""
    lab.server.keep_alive = 0.02
    lab.server.faults.add("delay", "*/original", seconds=0.05)
    return lab.stage("--workers", "1")


def stream_cut(lab: Lab) -> Run:
    lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": lab.user.password}
    lab.server.faults.add("cut", "*/sync/stream")
    return lab.stage()


NO_PROXY = {"IMMICH_URL": "http://photos.invalid", "http_proxy": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}

SCENARIOS = (
    Scenario("refused from the start", away, PAUSED, "connection refused"),
    Scenario("name not known (DNS)", with_setting(IMMICH_URL="http://photos.invalid"), PAUSED, "DNS"),
    Scenario("proxy refuses", with_setting(**NO_PROXY), PAUSED, "proxy"),
    Scenario("TLS: own CA, --ca-file given", lambda lab: lab.stage(), DONE, tls="good"),
    Scenario("TLS: own CA, not given", with_setting(FACESETS_CA_FILE=""), PAUSED, "--ca-file", tls="good"),
    Scenario("TLS: certificate expired", lambda lab: lab.stage(), PAUSED, "expired", tls="expired"),
    Scenario("TLS: certificate of another host", lambda lab: lab.stage(), PAUSED, "another host", tls="wrong host"),
    Scenario("https to a port that speaks http",
             lambda lab: with_setting(IMMICH_URL=lab.server.url.replace("http:", "https:"))(lab), PAUSED, "TLS"),
    Scenario("no Immich API at this URL (HTML)", with_fault("html", "*"), SETTINGS, "no Immich API"),
    Scenario("ping redirects to another host", with_fault("redirect", "*", location="http://localhost:9/api/server/ping"),
             PAUSED, "where the key is not sent"),
    Scenario("wrong key", with_setting(IMMICH_API_KEY="0" * 43), NOT_ALLOWED, "Invalid API key"),
    Scenario("key revoked midway", key_revoked, NOT_ALLOWED, "check the key"),
    Scenario("goes away while listing", with_fault("down", "*/search/metadata", skip=1), PAUSED, "cannot list|is away"),
    Scenario("goes away while downloading", with_fault("down", skip=8), PAUSED, "the server is away"),
    Scenario("goes away, --wait-for-server", away_for_a_while, DONE, "waiting up to", left=0),
    Scenario("away at the start, --wait-for-server", away_at_first, DONE, "is back", left=0),
    Scenario("eight failures in a row, then back",      # 9 to 12 may be four of one asset and of the probe that follows
             with_fault("status", "*", "--workers", "1", skip=9, times=8, status=503), DONE, left=0),
    Scenario("connection reset, three times", with_fault("reset", times=3), DONE, left=0),
    Scenario("stale keep-alive connections", hung_up_keep_alive, DONE, left=0),
    Scenario("stops halfway, three times", with_fault("stop", times=3), DONE, left=0),
    Scenario("ends early under the full length", with_fault("cut", times=3), DONE, left=0),
    Scenario("length promises too much", with_fault("long", times=3), DONE, left=0),
    Scenario("length promises too little", with_fault("short", times=3), DONE, left=0),
    Scenario("stalls in the middle", stalled, DONE, left=0),
    Scenario("trickles", with_fault("trickle", times=2, piece=200, seconds=0.1), DONE, left=0),
    Scenario("wrong bytes, twice", with_fault("wrong_bytes", times=2), DONE, left=0, fill=uploads),
    Scenario("every 3rd download has wrong bytes", with_fault("wrong_bytes", every=3), DONE, fill=uploads),
    Scenario("stops halfway, then ignores Range",
             lambda lab: (lab.server.faults.add("stop", "*/original", times=2),
                          with_fault("ignore_range", skip=0)(lab))[1], DONE, left=0),
    Scenario("503 with Retry-After", with_fault("status", times=4, status=503, retry_after=0.2), DONE, left=0),
    Scenario("429 with Retry-After", with_fault("status", times=4, status=429, retry_after=0.2), DONE, left=0),
    Scenario("429 on everything for a while", with_fault("status", "*", skip=9, times=40, status=429, retry_after=0.02),
             DONE, "going on more slowly"),
    Scenario("408, 425 now and then", with_fault("status", every=7, status=425), DONE, left=0),
    Scenario("502 of a proxy, on everything", with_fault("status", "*", skip=9, status=502), PAUSED, "is away"),
    Scenario("500 as image/jpeg with JSON, once", with_fault("json_image", times=1), DONE, left=0),
    Scenario("500 as image/jpeg with JSON, always", with_fault("json_image"), PAUSED, "disk of its photos mounted"),
    Scenario("a login page instead of photos, five times", with_fault("html", times=5), DONE, left=0),
    Scenario("a login page instead of everything", with_fault("html", "*", skip=12), PAUSED, "web page"),
    Scenario("downloads redirect to another host", with_fault("redirect", location="http://localhost:9/x"), PAUSED,
             "where the key is not sent"),
    Scenario("2.x: photo disk not mounted (500)", unmounted, PAUSED, "disk of its photos mounted"),
    Scenario("3.x: photo disk not mounted (404)", unmounted, PAUSED, "disk of its photos mounted", version=(3, 1, 0)),
    Scenario("3.x: face requests fail now and then", with_fault("status", "*/faces", every=5, status=500), DONE, left=0,
             version=(3, 1, 0)),
    Scenario("3.x: the stream of faces is cut off", stream_cut, PAUSED, "stream", version=(3, 1, 0)),
    Scenario("an asset is deleted after the listing", deleted_meanwhile, DONE),
    Scenario("the disk is full", full_disk, PAUSED, "make room", fill=large_photos),
    Scenario("the share with the photos is not mounted", photos_unmounted, FAILED, "is the share mounted"),
    Scenario("a second run at once", two_at_once, PAUSED, "is at work here"),
    Scenario("SIGTERM while downloading", signalled(signal.SIGTERM), PAUSED, "stopped"),
    Scenario("Ctrl-C while downloading", signalled(signal.SIGINT), PAUSED, "stopped"),
    Scenario("Ctrl-C while listing", signalled(signal.SIGINT, "*/search/metadata", 1), PAUSED, "stopped"),
    Scenario("kill -9 while downloading", signalled(signal.SIGKILL), -9),
    Scenario("kill -9 while listing", signalled(signal.SIGKILL, "*/search/metadata", 1), -9),
)
