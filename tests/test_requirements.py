"""The locks are complete without pip's resolver, which is never asked: they are installed with --no-deps.

Two deliberate replacements: insightface asks for opencv-python and onnxruntime, and gets their headless and DirectML
builds, which hold the same modules. One file each of the two, or they overwrite one another in place.
"""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

REPLACED = {"opencv-python": "opencv-python-headless", "onnxruntime": "onnxruntime-directml"}
WINDOWS = {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"}
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"}
MAC = {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"}
MACHINES = {    # lock, environment of the markers, tags that its pip would accept, newest first
    "windows": ("requirements-win.txt", WINDOWS, ["win_amd64"]),
    "linux": ("requirements-wsl.txt", LINUX, ["manylinux_2_28_x86_64", "manylinux2014_x86_64"]),
    "mac": ("requirements-wsl.txt", MAC, ["macosx_14_0_arm64", "macosx_13_0_arm64", "macosx_12_0_arm64",
                                          "macosx_11_0_arm64"]),
}
OPTIONAL = {"matplotlib"}   # report --plots says how to get it, and that the page has the same charts
OFFLINE = re.compile(r"connection error|connection broken|name resolution|Network is unreachable|timed out", re.I)


def environment(machine: str, python: str) -> dict[str, str]:
    return {**MACHINES[machine][1], "python_version": python, "python_full_version": f"{python}.9",
            "implementation_name": "cpython", "platform_python_implementation": "CPython", "extra": ""}


def blocks(lock: Path) -> Iterator[tuple[Requirement, list[str]]]:
    """Each requirement of a lock with its lines."""
    for block in re.split(r"\n(?=[a-z0-9])", lock.read_text()):
        lines = [line for line in block.splitlines() if line and not line.lstrip().startswith("#")]
        if not lines:
            continue
        yield Requirement(lines[0].rstrip("\\ ")), lines


def pinned(lock: Path, machine: str, python: str) -> dict[str, str]:
    """Canonical name -> version of what `lock` installs on that machine."""
    found = {}
    for requirement, _ in blocks(lock):
        if requirement.marker is None or requirement.marker.evaluate(environment(machine, python)):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{name} is pinned twice for {machine} {python}"
            found[name] = next(iter(requirement.specifier)).version
    return found


def resolved(checkout: Path, tmp_path: Path, machine: str, python: str) -> list[dict]:
    """What pip would install there from the lock, wheels only: [{"metadata", "download_info", ...}]."""
    name, _, tags = MACHINES[machine]
    lines = []      # pip evaluates markers for the Python that runs it, so they are evaluated here
    for requirement, block in blocks(checkout / name):
        if requirement.marker is None or requirement.marker.evaluate(environment(machine, python)):
            lines += [f"{requirement.name}{requirement.specifier} \\", *block[1:]]
    lock, report = tmp_path / "lock.txt", tmp_path / "report.json"
    lock.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--retries", "1", "--dry-run",
               "--report", str(report), "--target", str(tmp_path / "none"), "--ignore-installed", "--no-deps",
               "--ignore-requires-python",     # it would ask the Python that runs it; checked below
               "--require-hashes", "--only-binary", ":all:", "--implementation", "cp", "--python-version", python,
               *(part for tag in tags for part in ("--platform", tag)), "-r", str(lock)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120,
                         env={**os.environ, "PIP_DEFAULT_TIMEOUT": "15"})
    if run.returncode and OFFLINE.search(run.stderr):
        pytest.skip("the package index cannot be reached")
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(report.read_text())["install"]


@pytest.mark.parametrize(("machine", "python"), [
    ("windows", "3.11"), ("windows", "3.12"), ("linux", "3.12"), ("mac", "3.12")])
def test_a_lock_installs_from_wheels_and_lacks_nothing_that_its_packages_ask_for(
        checkout: Path, tmp_path: Path, machine: str, python: str) -> None:
    pins = pinned(checkout / MACHINES[machine][0], machine, python)
    packages = resolved(checkout, tmp_path, machine, python)
    assert {canonicalize_name(item["metadata"]["name"]): item["metadata"]["version"] for item in packages} == pins
    missing = []
    for item in packages:
        wanted_python = SpecifierSet(item["metadata"].get("requires_python", ""))
        assert wanted_python.contains(f"{python}.9"), item["metadata"]["name"]
        for text in item["metadata"].get("requires_dist", []):
            wanted = Requirement(text)
            if wanted.marker and not Marker(str(wanted.marker)).evaluate(environment(machine, python)):
                continue
            name = canonicalize_name(wanted.name)
            version = pins.get(name) or pins.get(REPLACED.get(name, ""))
            if version is None or not wanted.specifier.contains(version, prereleases=True):
                missing.append(f"{item['metadata']['name']} asks for {text}, the lock has {version}")
    assert not missing


@pytest.mark.parametrize("name", ["requirements-win.txt", "requirements-wsl.txt"])
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_a_lock_has_one_onnxruntime_and_one_opencv(checkout: Path, name: str, python: str) -> None:
    pins = pinned(checkout / name, "windows" if "win" in name else "linux", python)
    runtimes = [pin for pin in pins if pin.startswith(("onnxruntime", "ort-"))]
    assert runtimes == (["onnxruntime-directml"] if "win" in name else ["onnxruntime"])
    assert [pin for pin in pins if pin.startswith("opencv")] == ["opencv-python-headless"]


@pytest.mark.parametrize("name", ["requirements-win.txt", "requirements-wsl.txt", "tests/requirements.txt"])
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
    pins = pinned(checkout / "requirements-wsl.txt", "linux", "3.11")
    assert distributions(imported(scripts) - OPTIONAL - {path.stem for path in checkout.glob("*.py")}) <= set(pins)


def test_what_the_tests_import_is_in_their_lock(checkout: Path) -> None:
    tests = [*(checkout / "tests").rglob("*.py")]
    ours = {path.stem for path in checkout.glob("*.py")} | {"tests"}
    ours |= {part for path in tests for part in path.relative_to(checkout).with_suffix("").parts}
    pins = {**pinned(checkout / "requirements-wsl.txt", "linux", "3.11"),
            **pinned(checkout / "tests/requirements.txt", "linux", "3.11")}
    fuzzing = {"atheris"}       # has an environment of its own, as tests/trust/fuzz.py says
    assert distributions(imported(tests) - ours - fuzzing) <= set(pins)
