"""Long work: a bar that fits the terminal, silence where there is none, and a log of what scrolled by."""

import fcntl
import os
import pty
import re
import stat
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
WORK = """
import sys, time
from pathlib import Path
from facesets.common import terminal
if len(sys.argv) > 1:
    terminal.keep_log(Path(sys.argv[1]), "made up")
with terminal.progress(40, "downloading", "photos") as bar:
    for number in range(40):
        time.sleep(0.02)
        bar.update()
        bar.count(faces=2, unreadable=number % 10 == 0)
        bar.show(MB=number)
        if number == 20:
            terminal.say("one line in between")
"""


def on_terminal(columns: int, *arguments: str) -> list[str]:
    """What the work shows on a terminal of so many columns: every state of every line."""
    child, screen = pty.fork()
    if child == 0:
        fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.chdir(CHECKOUT)
        os.execv(sys.executable, [sys.executable, "-c", WORK, *arguments])
    shown = b""
    while True:
        try:
            shown += os.read(screen, 1 << 16)
        except OSError:     # the other side is closed
            break
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[A-Z]", "", shown.decode()))


@pytest.mark.parametrize("columns", [30, 110])
def test_a_bar_fits_the_terminal_and_lines_pass_above_it(columns: int) -> None:
    shown = on_terminal(columns)
    assert max(map(len, shown)) < columns
    assert "one line in between" in shown and any(line.startswith("downloading:") for line in shown)
    if columns > 100:
        assert any(re.search(r"photos/s.*faces, \d unreadable, \d+ MB", line) for line in shown)


def test_there_is_no_bar_where_there_is_no_terminal(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert (done.stdout, done.stderr) == ("", "one line in between\n")


def test_what_scrolled_by_is_in_a_private_log_bars_included(tmp_path: Path) -> None:
    log = tmp_path / "log" / "stage.log"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", WORK, str(log)], capture_output=True, check=True, cwd=CHECKOUT)
    lines = [line.split("  ", 1)[1] for line in log.read_text(encoding="utf-8").splitlines()]
    assert lines[:2] == ["made up", "one line in between"] and len(lines) == 6
    assert re.fullmatch(r"downloading: 40 photos in \d+ s \([\d.]+/s\); 80 faces, 4 unreadable, 39 MB", lines[2])
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_log_that_grew_long_starts_anew_and_keeps_the_last(tmp_path: Path) -> None:
    log = tmp_path / "stage.log"
    log.write_bytes(b"x" * (5 << 20))
    subprocess.run([sys.executable, "-c", WORK, str(log)], capture_output=True, check=True, cwd=CHECKOUT)
    assert log.stat().st_size < 1000 and log.with_name("stage.log.1").stat().st_size == 5 << 20
