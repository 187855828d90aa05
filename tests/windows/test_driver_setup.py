"""finalize_immich.sh --setup-windows: one command, repeatable, and it goes on wherever it was stopped."""

import json
import shutil
from pathlib import Path

import pytest
from stubs.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def made(machine: Machine) -> list[str]:
    """Which of the costly steps the calls of Windows programs show."""
    text = [" ".join(call) for call in machine.calls()]
    return [step for step, words in (("venv", "-m venv"), ("install", "pip install"), ("doctor", "--doctor"))
            if any(words in line for line in text)]


def installed(machine: Machine) -> list[str]:
    return json.loads((machine.win_venv / "Lib" / "installed.json").read_text())


def test_it_makes_all_of_the_other_side_once_and_checks_it_every_time(machine: Machine) -> None:
    run = machine.run("--setup-windows")
    assert run.returncode == 0, run.stderr
    assert "doctor: the stub is well ✓" in run.stdout and "the Windows side is ready" in run.stderr
    assert made(machine) == ["venv", "install", "doctor"]
    install = next(call for call in machine.calls() if "install" in call and "pip" in call)
    assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(install)
    assert "onnxruntime-directml" in installed(machine) and "onnxruntime" not in installed(machine)
    private = next(call[-1] for call in machine.calls() if call[0] == "powershell.exe")
    assert private.startswith("icacls 'C:\\face_embed_venv\\face-sets' /inheritance:r")
    (machine.mounts / "calls.jsonl").unlink()
    run = machine.run("--setup-windows")
    assert run.returncode == 0 and made(machine) == ["doctor"], run.stderr
    machine.stage("face", "noface")
    assert machine.run("peter").returncode == 0 and machine.worked_on() == 2


def test_without_a_python_it_names_the_line_that_installs_one_and_then_goes_on(machine: Machine) -> None:
    (machine.mounts / "pythons").write_text("")
    run = machine.run("--setup-windows")
    assert run.returncode == 78 and "winget install --exact --id Python.Python.3.12" in run.stderr, run.stderr
    assert not (machine.win_venv / "Scripts").exists()
    (machine.mounts / "pythons").write_text("python3.14\n")     # that of the Store has no py.exe
    assert machine.run("--setup-windows").returncode == 0


def test_an_install_that_was_cut_off_goes_on(machine: Machine) -> None:
    (machine.mounts / "offline").touch()
    run = machine.run("--setup-windows")
    assert run.returncode == 1 and "the same command goes on" in run.stderr, run.stderr
    machine.stage("face")
    assert machine.run("peter", "--windows").returncode == 78       # half a side is none
    (machine.mounts / "offline").unlink()
    (machine.mounts / "calls.jsonl").unlink()
    assert machine.run("--setup-windows").returncode == 0
    assert made(machine) == ["install", "doctor"]


def test_an_environment_of_before_ends_with_one_onnxruntime_and_one_opencv(machine: Machine) -> None:
    machine.set_up_windows()
    old = ["onnxruntime", "onnxruntime-directml", "opencv-python", "opencv-python-headless", "rich"]
    (machine.win_venv / "Lib" / "installed.json").write_text(json.dumps(old))
    (machine.win_venv / "requirements-win.txt").write_text("# of an older version\n")
    run = machine.run("--setup-windows")
    assert run.returncode == 0, run.stderr
    assert [name for name in installed(machine) if name.startswith(("onnxruntime", "opencv"))] \
        == ["onnxruntime-directml", "opencv-python-headless"]
    assert made(machine) == ["install", "doctor"]


def test_a_python_that_is_gone_is_replaced_and_models_stay(machine: Machine) -> None:
    machine.set_up_windows()
    python = machine.win_venv / "Scripts" / "python.exe"
    python.write_text("#!/bin/sh\nexit 103\n")
    model = machine.win_venv / "face-sets" / "models" / "buffalo_l" / "det_10g.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    run = machine.run("--setup-windows")
    assert run.returncode == 0 and "py -3.12" in run.stderr, run.stderr
    assert made(machine) == ["venv", "install", "doctor"] and model.exists()


def test_a_model_pack_of_this_side_is_carried_over(machine: Machine) -> None:
    machine.set_up_windows()
    pack = machine.home / ".insightface" / "models" / "buffalo_l"
    pack.mkdir(parents=True)
    (pack / "det_10g.onnx").write_bytes(b"detector" * 1000)
    (pack / "w600k_r50.onnx").write_bytes(b"recogniser" * 1000)
    (pack / "notes.txt").write_text("not a model")
    assert machine.run("--setup-windows").returncode == 0
    there = machine.win_venv / "face-sets" / "models"
    assert sorted(path.name for path in (there / "buffalo_l").iterdir()) == ["det_10g.onnx", "w600k_r50.onnx"]
    own = machine.folder / "my pack"
    shutil.copytree(pack, own)
    run = machine.run("--setup-windows", FACESETS_MODEL=str(own), FACESETS_LANES="3")
    assert run.returncode == 0, run.stderr
    told = machine.calls()[-1]
    assert told[told.index("--lanes") + 1] == "3"       # no environment crosses, so settings do as flags
    assert told[told.index("--model") + 1] == "C:\\face_embed_venv\\face-sets\\models\\my pack"
    assert (there / "my pack" / "det_10g.onnx").read_bytes() == (own / "det_10g.onnx").read_bytes()


def test_a_card_that_does_not_work_is_said_by_the_set_up(machine: Machine) -> None:
    machine.set_up_windows()
    run = machine.run("--setup-windows", FACESETS_PROVIDER="cuda")
    assert run.returncode == 1 and "no such device" in run.stdout and "self-test" in run.stderr, run.stderr


def test_a_drive_that_is_not_mounted_is_named(machine: Machine) -> None:
    run = machine.run("--setup-windows", WIN_VENV=str(machine.mounts / "d" / "face_embed_venv"))
    assert run.returncode == 78 and "that drive is not mounted" in run.stderr, run.stderr
    assert f"C: is {machine.mounts / 'c'}" in run.stderr
