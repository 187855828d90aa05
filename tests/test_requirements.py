"""The locks are complete for every Python that they are for: they are installed with --no-deps, so nobody else asks.

Two deliberate replacements: insightface asks for opencv-python and onnxruntime, and gets their headless and DirectML
builds, which hold the same modules. One file each of the two, or they overwrite one another in place.
"""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from busy import LIMIT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
MACHINES = {    # uv's name of the machine -> the locks that are installed there
    "x86_64-pc-windows-msvc": ["requirements-win.txt", "requirements-cluster.txt"],
    "x86_64-manylinux_2_28": ["requirements-wsl.txt", "requirements-cluster.txt", "tests/requirements.txt"],
    "aarch64-apple-darwin": ["requirements-wsl.txt", "requirements-cluster.txt"],
}
OFFLINE = re.compile(r"error sending request|connection error|dns error|timed out", re.I)


def blocks(lock: Path) -> Iterator[tuple[Requirement, list[str]]]:
    """Each requirement of a lock with its lines."""
    for block in re.split(r"\n(?=[a-z0-9])", lock.read_text()):
        lines = [line for line in block.splitlines() if line and not line.lstrip().startswith("#")]
        if not lines:
            continue
        yield Requirement(lines[0].rstrip("\\ ")), lines


def pinned(lock: Path) -> set[str]:
    """Canonical names of what `lock` installs, on whatever machine."""
    return {canonicalize_name(requirement.name) for requirement, _ in blocks(lock)}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_a_lock_installs_from_wheels_and_lacks_nothing_that_its_packages_ask_for(
        checkout: Path, tmp_path: Path, machine: str, python: str) -> None:
    replaced = ["opencv-python", *(["onnxruntime"] if "windows" in machine else [])]
    without = tmp_path / "without.txt"
    without.write_text("".join(f"{name}; sys_platform == 'never'\n" for name in replaced))
    run = subprocess.run(
        [Path(sys.executable).with_name("uv"), "pip", "install", "--dry-run", "--target", tmp_path / "none",
         "--python-platform", machine, "--python-version", python, "--require-hashes", "--only-binary", ":all:",
         "--override", without, *(part for lock in MACHINES[machine] for part in ("-r", lock))],
        cwd=checkout, env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}, capture_output=True, text=True,
        timeout=LIMIT)
    if run.returncode and OFFLINE.search(run.stderr):
        pytest.skip("the package index cannot be reached")
    assert run.returncode == 0, run.stderr[-2000:]
    installed = {canonicalize_name(name) for name in re.findall(r"^ \+ ([^=\s]+)==", run.stderr, re.M)}
    assert {"numpy", "insightface", "python-dotenv"} <= installed, run.stderr


@pytest.mark.parametrize("name", ["requirements-win.txt", "requirements-wsl.txt"])
def test_a_lock_has_one_onnxruntime_and_one_opencv(checkout: Path, name: str) -> None:
    pins = sorted(pinned(checkout / name))
    runtimes = [pin for pin in pins if pin.startswith(("onnxruntime", "ort-"))]
    assert runtimes == (["onnxruntime-directml"] if "win" in name else ["onnxruntime"])
    assert [pin for pin in pins if pin.startswith("opencv")] == ["opencv-python-headless"]


@pytest.mark.parametrize("name", ["requirements-win.txt", "requirements-wsl.txt", "requirements-cluster.txt",
                                  "tests/requirements.txt"])
def test_every_pin_of_a_lock_has_a_hash_and_names_no_index(checkout: Path, name: str) -> None:
    text = (checkout / name).read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    for requirement, lines in blocks(checkout / name):
        assert [item.operator for item in requirement.specifier] == ["=="], requirement
        assert all(re.fullmatch(r"\s+--hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines[1:]), requirement
        assert len(lines) > 1, requirement


def imported(paths: list[Path]) -> set[str]:
    """Top-level names of the foreign modules that `paths` import anywhere, inside functions as well."""
    names = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"facesets", "config", "conftest"}


def distributions(names: set[str]) -> set[str]:
    """The distributions that hold those modules; the modules of our own tests are none."""
    owners = importlib.metadata.packages_distributions()
    unknown = {name for name in names if name not in owners}
    assert not unknown, f"imported, but in no installed package: {sorted(unknown)}"
    return {canonicalize_name(owners[name][0]) for name in names}


def test_what_the_scripts_import_is_in_the_lock(checkout: Path) -> None:
    scripts = [*checkout.glob("*.py"), *(checkout / "facesets").rglob("*.py")]
    pins = pinned(checkout / "requirements-wsl.txt") | pinned(checkout / "requirements-cluster.txt")
    assert distributions(imported(scripts) - {path.stem for path in checkout.glob("*.py")}) <= pins


def test_what_the_tests_import_is_in_their_lock(checkout: Path) -> None:
    tests = [*(checkout / "tests").rglob("*.py")]
    ours = {path.stem for folder in (checkout, checkout / "benchmarks") for path in folder.glob("*.py")} | {"tests"}
    ours |= {part for path in tests for part in path.relative_to(checkout).with_suffix("").parts}
    pins = pinned(checkout / "requirements-wsl.txt") | pinned(checkout / "tests/requirements.txt")
    fuzzing = {"atheris"}       # has an environment of its own, as tests/trust/fuzz.py says
    assert distributions(imported(tests) - ours - fuzzing) <= pins
