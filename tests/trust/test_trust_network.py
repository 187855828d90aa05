"""A line that drops, delays, trickles, truncates, flips, doubles, reorders: the same result, or a run that says so."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator

import pytest
from busy import slowness
from chain_lab import ROUNDS, SEED
from fault_proxy import FaultProxy
from stage_lab import Lab
from stage_tls import authority, context

from facesets.common.errors import OK, PAUSED

PLANS = 5 * ROUNDS or 20
PATIENCE = 0.3      # seconds that the client waits for a byte, on a machine of its own


@pytest.fixture(scope="module", params=["http", "https"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("line")
    tls = {"tls": context(authority(folder), "good")} if request.param == "https" else {}
    made = Lab(folder, **tls)
    if tls:
        made.extra["FACESETS_CA_FILE"] = str(folder / "authority.pem")
    made.add(8)
    made.add(2, faces=0)
    made.one(number=7001, external=True, name="first.jpg", taken="2020-02-02T00:00:00", side=260)
    made.one(number=7001, external=True, name="again.jpg", taken="2020-03-03T00:00:00", side=260)
    with made.server:
        yield made


def through(lab: Lab, seed: str) -> tuple[int, FaultProxy, bytes, str]:
    """One run through a line that the seed spoils: status, the line, the queue, what was said."""
    before = dict(lab.extra)
    patience = PATIENCE * slowness()
    with FaultProxy(lab.server.port, seed, lab.server.tls is not None, patience) as line:
        url = f"{lab.server.url.rpartition(':')[0]}:{line.port}"
        lab.extra |= {"IMMICH_URL": url, "FACESETS_READ_TIMEOUT": f"{patience:.2f}", "FACESETS_RETRY_PAUSE": "0.002",
                      "FACESETS_CONNECT_TIMEOUT": f"{2 * patience:.2f}"}
        try:
            run = lab.stage()
        finally:
            lab.extra = before
    queue = lab.queue().replace(url.encode(), b"URL") if (lab.user_dir / "queue.json").exists() else b""
    return run.status, line, queue, run.out + run.err


def named(queue: bytes, left: bool) -> bytes:
    """The queue; without the names of files if a run ended well that left some assets for the next one: a photo keeps
    the name under which it was handed over, so one whose first asset came later has the name of its twin."""
    return re.sub(rb"(/[0-9a-f]{16})_[^/\"]*", rb"\1", queue) if left else queue


def test_a_bad_line_changes_nothing_but_how_long_it_takes(lab):
    calm = lab.undisturbed()
    ends, harms = Counter(), Counter()
    try:
        for number in range(PLANS // 2):
            shutil.rmtree(lab.root, ignore_errors=True)
            status, line, queue, said = through(lab, f"{SEED}-{number}")
            harms.update(line.harmed)
            assert status in (OK, PAUSED), (number, said)
            assert "(a bug" not in said and lab.key not in said, (number, said)
            left = '"skipped_download_error": 0' not in said
            assert status == PAUSED or left or queue == calm, (number, line.harmed)
            ends["paused" if status else "some left for the next run" if left else "the same at once"] += 1
            again = lab.stage()
            assert again.status == OK, (number, again.err)
            assert named(lab.queue(), left) == named(calm, left), (number, line.harmed)
            assert not lab.parts, number
    finally:
        print(f"\n{sum(ends.values())} plans over {'https' if lab.server.tls else 'http'}: {dict(ends)}; "
              f"{sum(harms.values())} connections harmed: {dict(harms)}")
    assert len(harms) >= 4 and ends["the same at once"], "the lines were too good, or too bad"
