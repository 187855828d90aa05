"""The house: every package has its floor, imports point one way, nothing lies loose between the rooms."""

import subprocess
import sys
from pathlib import Path

from busy import LIMIT


def test_imports_point_one_way_and_nowhere_in_a_circle(checkout: Path) -> None:
    """The contracts of pyproject.toml; import-linter names the line that breaks one."""
    run = subprocess.run([Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=checkout, timeout=LIMIT,
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[run.stdout.find("Contracts"):] + run.stderr


def test_no_module_lies_loose(checkout: Path) -> None:
    assert [path.name for path in (checkout / "facesets").glob("*.py")] == ["__init__.py"]


def test_no_line_is_longer_than_120_characters(checkout: Path) -> None:
    """Of what the linter does not read: pages and shell."""
    listed = [path for folder in (".", "facesets/**", "tests/**") for kind in ("sh", "js", "css", "html")
              for path in checkout.glob(f"{folder}/*.{kind}")]
    assert len(listed) > 10
    assert not [f"{path}:{number}" for path in listed for number, line in enumerate(
        path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > 120]
