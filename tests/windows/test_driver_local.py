"""finalize_immich.sh without a Windows side: usage, signals, and what the shell scripts look like."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stubs.machine import LIMIT, Machine

from facesets.common import files


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, wsl=False)


@pytest.mark.parametrize(("arguments", "status", "words"), [
    ([], 64, "usage:"), (["--no-such"], 64, "unknown option --no-such"), (["-x"], 64, "unknown option -x"),
    (["peter", "--no-such", "x"], 64, "unrecognized arguments: --no-such"), (["a", "b"], 64, "one user at a time"),
    (["../peter"], 64, "../peter is no user label"), (["Peter"], 64, "Peter is no user label: 1 to 32 of a-z"),
    (["peter", "--local", "--windows"], 64, "either --local or --windows"),
    (["peter"], 1, "first: python immich_stage.py --user peter"),
    (["--setup-windows"], 78, "this is no WSL"),
])
def test_what_cannot_be_done_is_said_in_one_line(machine: Machine, arguments: list[str], status: int,
                                                 words: str) -> None:
    run = machine.run(*arguments)
    assert run.returncode == status and words in run.stderr and run.stderr.count("\n") == 1, run.stderr


PYTHONS = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
MADE = """#!/bin/sh
[ "$1" != --version ] || echo Python 3.13.9
[ "$1" != -m ] || { mkdir -p "$4/bin"; printf '#!/bin/sh\n' >"$4/bin/python"; chmod +x "$4/bin/python"; }
"""


def only_python(machine: Machine, *fitting: str) -> None:
    """Take the environment away, and let none but these Pythons say that they fit."""
    shutil.rmtree(machine.checkout / ".venv")
    for name in PYTHONS:
        (machine.bin / name).write_text(MADE if name in fitting else "#!/bin/sh\nexit 1\n")
        (machine.bin / name).chmod(0o755)


def test_a_machine_whose_own_python_is_too_old_or_too_new_uses_another(machine: Machine) -> None:
    only_python(machine, "python3.13")
    run = machine.run("--setup")
    assert run.returncode == 0 and "with Python 3.13.9" in run.stderr and "ready:" in run.stderr, run.stderr
    run = machine.run("--setup")
    assert "making" not in run.stderr and "ready:" in run.stderr, run.stderr


def test_an_environment_of_a_python_that_the_system_replaced_is_made_again(machine: Machine) -> None:
    kept = (machine.checkout / ".venv" / "requirements-wsl.txt").read_bytes()
    only_python(machine, "python3")
    python = machine.checkout / ".venv" / "bin" / "python"
    files.write_bytes(python, b"#!/bin/sh\nexit 1\n")      # starts, and finds none of its packages
    python.chmod(0o700)
    files.write_bytes(machine.checkout / ".venv" / "requirements-wsl.txt", kept)
    run = machine.run("--setup")
    assert run.returncode == 0 and "making the environment" in run.stderr and "ready:" in run.stderr, run.stderr


def test_without_a_fitting_python_it_says_how_to_get_one_and_then_goes_on(machine: Machine) -> None:
    only_python(machine)
    run = machine.run("--setup")
    assert run.returncode == 78 and run.stderr.count("\n") == 1, run.stderr
    assert "Python 3.11 to 3.14" in run.stderr and "uv python install 3.12" in run.stderr
    uvs = machine.home / ".local" / "bin" / "python3.12"        # where uv puts it, on PATH or not
    uvs.parent.mkdir(parents=True)
    uvs.write_text(MADE)
    uvs.chmod(0o755)
    assert machine.run("--setup").returncode == 0


def test_a_colon_in_the_path_of_the_checkout_is_said_before_an_environment_is_made(machine: Machine) -> None:
    only_python(machine, "python3")
    machine.checkout = machine.checkout.rename(machine.folder / "face:sets")
    run = machine.run("--setup")
    assert run.returncode == 78 and "colon" in run.stderr and run.stderr.count("\n") == 1, run.stderr


def test_help_is_the_manual(machine: Machine) -> None:
    run = machine.run("--help")
    assert run.returncode == 0 and "--setup-windows" in run.stdout and "Exit    0 done" in run.stdout


def test_a_setting_that_makes_no_sense_stops_it(machine: Machine) -> None:
    machine.stage("face")
    run = machine.run("peter", FACESETS_MIN_FACES="six")
    assert run.returncode == 78 and "FACESETS_MIN_FACES" in run.stderr, run.stderr
    machine.queue.write_text("{}")
    run = machine.run("peter")
    assert run.returncode == 1 and "run immich_stage.py again" in run.stderr, run.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_pause_it_and_the_same_command_goes_on(machine: Machine, number: int) -> None:
    machine.stage("face", "hold", "face")
    with machine.started("peter") as run:
        os.killpg(run.pid, number)      # as a terminal does, and as systemd does
        assert run.stderr is not None
        words = run.stderr.read()
    if number == signal.SIGINT:
        assert run.returncode == 2 and "go on with: bash finalize_immich.sh peter" in words, words
    assert "same command goes on" in machine.log() and not machine.cache_path.exists()
    files.write_bytes(machine.cache_path.with_name("immich_peter.npz.parts") / "release", b"")
    last = machine.run_to_the_end("peter")
    assert last.returncode == 0, last.stderr
    assert machine.worked_on() in (3, 4)       # the photo in flight may be asked for again


def test_the_worker_of_a_killed_driver_ends_its_step_and_nobody_starts_a_second(machine: Machine) -> None:
    machine.stage("face", "hold", "face")
    with machine.started("peter") as run:
        os.kill(run.pid, signal.SIGKILL)        # the driver alone, as the kernel does when memory is short
        second = machine.run("peter")
        files.write_bytes(machine.cache_path.with_name("immich_peter.npz.parts") / "release", b"")
        assert second.returncode == 2 and "the worker that it started" in second.stderr, second.stderr
    last = machine.run_to_the_end("peter")
    assert last.returncode == 0, last.stderr
    assert machine.worked_on() == 3 and len(machine.result().photos) == 3


def test_the_work_is_done_where_nobody_is_told(machine: Machine) -> None:
    machine.stage("face")
    run = subprocess.run(["bash", "-c", '"$@" 2>&-', "bash", *machine.command("peter")], env=machine.environment,
                         cwd=machine.home, stdin=subprocess.DEVNULL, timeout=LIMIT)
    assert run.returncode == 0 and len(machine.result().photos) == 1


def test_a_crashed_worker_is_started_again(machine: Machine) -> None:
    machine.stage("face", "crash", "face")
    run = machine.run("peter")
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("embedding crashed (status 139") == 2
    assert machine.worked_on() == 3


def test_a_killed_worker_is_said(machine: Machine) -> None:
    machine.stage("face", "kill", "face")
    run = machine.run("peter")
    assert run.returncode == 1 and "ended from outside (status 137); go on with" in run.stderr, run.stderr
    assert machine.run("peter").returncode == 0
    assert machine.worked_on() == 3


def test_a_log_that_grew_large_is_put_aside(machine: Machine) -> None:
    machine.stage("face")
    log = machine.queue.with_name("embed.log")
    log.write_bytes(b"x" * (5 << 20))
    assert machine.run("peter").returncode == 0
    assert machine.worked_on() == 1 and log.stat().st_size < 10_000
    assert log.with_name("embed.log.1").stat().st_size == 5 << 20 and log.stat().st_mode & 0o077 == 0


def test_a_card_that_this_onnxruntime_cannot_use_is_said(machine: Machine) -> None:
    machine.stage("face")
    assert "NVIDIA" not in machine.run("peter", "--dry-run").stderr
    (machine.bin / "nvidia-smi").write_text("#!/bin/sh\n")
    (machine.bin / "nvidia-smi").chmod(0o755)
    offered = subprocess.run([sys.executable, "-c", "import onnxruntime; print(onnxruntime.get_available_providers())"],
                             capture_output=True, text=True, check=True).stdout
    assert ("NVIDIA" in machine.run("peter", "--dry-run").stderr) == ("CUDA" not in offered)


def test_dry_run_prints_commands_that_a_shell_takes(machine: Machine) -> None:
    machine.stage("face")
    run = machine.run("peter", "--dry-run")
    line = next(line for line in run.stderr.splitlines() if "embed_worker.py" in line)
    words = subprocess.run(["bash", "-c", f"printf '%s\\n' {line.removeprefix('would run:')}"], capture_output=True,
                           text=True, check=True).stdout.splitlines()
    assert str(machine.checkout / "embed_worker.py") in words and str(machine.cache_path) in words
    assert not machine.cache_path.exists() and machine.log() == ""


def test_shell_scripts_are_shellcheck_clean(checkout: Path) -> None:
    beside = Path(sys.executable).with_name("shellcheck")       # from the test lock
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    assert program, "shellcheck is in tests/requirements.txt: bash tests/run.sh installs it"
    listed = subprocess.run(["git", "ls-files"], cwd=checkout, capture_output=True, text=True).stdout.splitlines()
    scripts = [name for name in listed if name.endswith(".sh") or name == ".ci/run"]
    assert "finalize_immich.sh" in scripts and "tests/run.sh" in scripts
    found = subprocess.run([program, "--shell=bash", *scripts], cwd=checkout, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
