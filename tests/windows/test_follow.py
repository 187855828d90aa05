"""What follows a Windows program: its lines, its log, its end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from busy import LIMIT

from facesets.windows.follow import Lines

FOLLOW = ("import sys; from pathlib import Path; from facesets.windows.follow import follow; sys.exit(follow("
          "[sys.executable, '-c', sys.argv[2]], Path(sys.argv[1]), sys.stderr.buffer, False, 1.0, 1.0))")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def started(log: Path, code: str) -> "subprocess.Popen[str]":
    """The follower of a Python program, which shows a bar every second and is patient for one."""
    return subprocess.Popen([sys.executable, "-c", FOLLOW, str(log), code], stderr=subprocess.PIPE, env=ENVIRONMENT,
                            text=True)


def test_the_log_gets_the_state_of_a_bar_now_and_then(tmp_path: Path) -> None:
    run = started(tmp_path / "log",
                  "import time\nfor n in range(4): print(f'{n}0%', end='\\r', flush=True); time.sleep(0.7)")
    shown = run.communicate(timeout=LIMIT)[1]
    assert run.returncode == 0, shown
    states = [line for line in (tmp_path / "log").read_text().splitlines() if line.endswith("0%")]
    assert 2 <= len(states) <= 4 and states[-1] == "30%" and shown.splitlines() == states


def test_a_bar_of_many_hours_is_kept_once_not_state_by_state() -> None:
    lines = Lines()
    for number in range(200_000):
        assert lines.feed(f"\rembedding: {number}".encode()) == []
    assert lines.newest() == "embedding: 199999" and len(lines.open) < 100
    assert lines.feed(b" of all\r\nnext\r") == ["embedding: 199999 of all"]
    assert lines.newest() == "next" and lines.feed(b"\n") == ["next"]
    lines.feed(b"x" * (1 << 20))
    assert len(lines.open) <= 1 << 16


def test_a_program_that_does_not_end_when_it_is_told_is_killed(tmp_path: Path) -> None:
    run = started(tmp_path / "log", "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                                    "print('deaf', flush=True)\nwhile True: time.sleep(1)")
    assert run.stderr is not None and run.stderr.readline() == "deaf\n"
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=LIMIT)
    assert run.returncode == 2 and "status 2" in (tmp_path / "log").read_text()


def test_what_a_program_left_running_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    run = started(tmp_path / "log", "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)")
    shown = run.communicate(timeout=LIMIT)[1]
    os.kill(int(shown.split()[0]), signal.SIGKILL)
    assert run.returncode == 0 and time.monotonic() - began < LIMIT


def test_a_log_that_cannot_be_kept_is_said_in_one_line(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-m", "facesets.windows.follow", str(tmp_path), "true"], env=ENVIRONMENT,
                         capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.count("\n") == 1 and "Is a directory" in run.stderr, run.stderr
