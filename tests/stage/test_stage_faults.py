"""Every fault of stage_faults.SCENARIOS: the run ends as it must, and the same command makes up for it."""

import re

import pytest
from stage_faults import SCENARIOS, Scenario, play
from stage_lab import Lab


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_after_any_fault_the_same_command_ends_like_an_undisturbed_run(scenario: Scenario, tmp_path):
    outcome = play(scenario, tmp_path)
    run = outcome.run
    assert run.status == scenario.status, run.err
    assert re.search(scenario.says, run.err), run.err
    assert "Traceback" not in run.err
    assert "unexpected" not in run.err
    if scenario.left is not None:
        assert run.summary["skipped_download_error"] + run.summary["pending"] == scenario.left, run.err
    if scenario.status in (1, 2, 77, 78):
        assert outcome.message.count("\n") == 0
    if scenario.status == 2 and "second run" not in scenario.name:
        assert "immich_stage.py --user peter --json" in outcome.message      # what to type again
    assert outcome.again == 0
    assert outcome.same
    # what was on disk was not asked for again
    assert outcome.again_asked["original"] + outcome.photos <= outcome.asked["original"] + 28


def test_every_photo_is_downloaded_once_although_the_run_is_killed_again_and_again(tmp_path):
    from stage_lab import laboratory
    with laboratory(tmp_path) as lab:
        calm = lab.undisturbed()
        kills = kill_until_done(lab)
        assert kills >= 3
        assert lab.queue() == calm
        asked = lab.asked()
        assert asked["original"] + asked["preview"] <= 28 + 2 * 4 * kills   # in hand at each kill: two threads a worker
        assert len({path.name for path in lab.photos}) == 27
        assert lab.parts == []


def kill_until_done(lab: Lab) -> int:
    """kill -9 the run at several moments, then let it finish; how many runs were killed."""
    lab.server.faults.add("delay", "*/original", seconds=0.03)
    kills = 0
    for after in (1, 5, 9, 14, 20, 26):
        process = lab.start()
        asked = len(lab.server.log.find("*/original"))
        lab.wait_for("*/original", min(asked + after % 7, 27))
        process.kill()
        kills += lab.finish(process).status == -9
    lab.server.faults.clear()
    assert lab.stage().status == 0
    return kills
