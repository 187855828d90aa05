"""What is printed where nobody listens, and endings that are one line and a true status."""

import os
import subprocess
import sys

import pytest
from busy import LIMIT

SCRIPT = """
import sys
from pathlib import Path
from facesets.common import terminal

@terminal.script
def main(argv=None):
    work = open(sys.argv[1], "w")
    for step in range(3):
        terminal.say(f"step {step}")
        with terminal.progress(2, "working", "steps") as bar:
            bar.update(2)
        work.write(f"{step}")
    work.close()
    terminal.answer("done " * 30000)
    return 2

sys.exit(main())
"""


def ended(checkout, tmp_path, redirected):
    """The status of a script whose streams are what the shell says, and the file that is its work."""
    work = tmp_path / "work.txt"
    reader, gone = os.pipe()
    os.close(reader)
    run = subprocess.run(["bash", "-c", f'"$@" {redirected.replace("gone", str(gone))}', "bash", sys.executable, "-c",
                          SCRIPT, str(work)], cwd=checkout, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True, timeout=LIMIT, pass_fds=[gone],
                         env={**os.environ, "FACESETS_PROGRESS": "1", "PYTHONPATH": str(checkout)})
    os.close(gone)
    return run, work.read_text()


@pytest.mark.parametrize("redirected", ["2>&gone", ">&gone", ">&gone 2>&gone", "2>&-", ">&- 2>&-", "<&- >&-",
                                        "2>/dev/full"])
def test_work_is_done_and_its_status_true_whoever_stops_listening(checkout, tmp_path, redirected):
    run, work = ended(checkout, tmp_path, redirected)
    assert run.returncode == 2 and work == "012", (run.returncode, run.stderr)
    assert "Error" not in run.stderr and "Exception" not in run.stderr


def test_an_answer_that_finds_no_room_is_no_success(checkout, tmp_path):
    run, _ = ended(checkout, tmp_path, "> /dev/full")
    assert run.returncode == 2 and run.stderr.count("the disk") == 1 and "is full; make room" in run.stderr, run.stderr
    assert "Exception" not in run.stderr


def test_a_connection_that_breaks_is_no_success(checkout):
    code = ("import socket, sys\nfrom facesets.common import terminal\n@terminal.script\ndef main(argv=None):\n"
            "    ours, theirs = socket.socketpair(); theirs.close(); ours.send(b'x')\nsys.exit(main())")
    run = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True)
    assert run.returncode == 1 and "BrokenPipeError" in run.stderr, run.stderr


@pytest.mark.parametrize("number", ["ENOLCK", "EOPNOTSUPP"])
def test_a_file_system_without_locks_is_said(checkout, tmp_path, number):
    code = ("import errno, sys; from pathlib import Path; from facesets.common import files, terminal\n"
            "def refuse(event, args):\n"
            f"    if event == 'fcntl.flock': raise OSError(errno.{number}, 'as NFS says it')\n"
            "sys.addaudithook(refuse)\n@terminal.script\ndef main(argv=None):\n"
            "    with files.only_one(Path(sys.argv[1]), 'we'): return 0\nsys.exit(main())")
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "stage.lock")], cwd=checkout, capture_output=True,
                         text=True)
    assert run.returncode == 78 and "keeps no locks" in run.stderr and "FACESETS_DATA_ROOT" in run.stderr, run.stderr
    assert run.stderr.count("\n") == 1
