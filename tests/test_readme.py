"""The README tells the truth: every command in it is run here, and every path in it exists."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from immich_lab.server import LabServer

from facesets.demo import sample_library
from facesets.embed import packs


@pytest.fixture(scope="module")
def readme(checkout):
    return (checkout / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def commands(readme):
    """The indented lines that a shell would run, without their comments."""
    lines = [line.strip() for line in readme.splitlines() if re.match(r"    (bash|python|source|export) ", line)]
    return [shlex.join(shlex.split(line, comments=True)) for line in lines]


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    """A shell's environment beside a server with peter's photos, the small free model chosen in the settings."""
    root = tmp_path_factory.mktemp("operator")
    pack = packs.open_pack("opencv_zoo", root / "models")
    sample_library.build(root / "sample", pack.detector.path, root / "archive")
    with LabServer() as server:
        key = sample_library.serve(root / "sample", server.library)
        yield {**os.environ, "IMMICH_URL": server.url, "IMMICH_API_KEY": key, "FACESETS_DATA_ROOT": str(root / "work"),
               "FACESETS_LIBRARY": str(root / "library"), "FACESETS_MODELS_DIR": str(root / "models"),
               "FACESETS_MODEL": "opencv_zoo", "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}


def shell(command, checkout, environment):
    run = subprocess.run(["bash", "-c", command], cwd=checkout, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, f"{command} ended with {run.returncode}: {run.stderr[-2000:]}"
    assert "Traceback" not in run.stderr
    return run.stdout + run.stderr


def test_the_commands_of_an_operator_work_in_the_order_of_the_readme(commands, checkout, operator):
    """All but the demo and the tests themselves; the server and the key are those of the local server."""
    done = []
    for command in commands:
        if command.startswith(("export IMMICH_URL", "bash tests/run.sh")) or "--demo" in command:
            continue
        if "--setup" in command and not os.path.isdir(checkout / ".venv"):
            continue    # a virtual environment of another name is at work
        done.append(shell(command, checkout, operator))
    assert len(done) >= 7
    library = operator["FACESETS_LIBRARY"]
    assert len([name for name in os.listdir(library) if name.startswith("faceset_")]) >= 4
    assert os.path.isfile(os.path.join(library, "index.html"))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_path_in_a_document_exists(checkout, name):
    text = (checkout / name).read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)#]+)\)", text)
    linked += re.findall(r"[`\s]((?:facesets|tests|docs|benchmarks)/[\w/.]+)", text)
    local = [path.rstrip(".") for path in linked if not path.startswith("http")]
    assert local and not [path for path in local if not (checkout / path).exists()]


def test_every_message_of_the_page_of_troubles_is_one_that_is_said(checkout):
    text = (checkout / "docs" / "troubles.md").read_text(encoding="utf-8")
    messages = [message for row in re.findall(r"^\| (`.+?) \|", text, re.M) for message in re.findall("`([^`]+)`", row)]
    source = " ".join(path.read_text(encoding="utf-8") for path in (*(checkout / "facesets").rglob("*.py"),
                                                                    *checkout.glob("*.py")))
    said = re.sub(r'"\s+f?"', "", source)       # a message may go on in the next line
    assert len(messages) > 15 and not [message for message in messages if message not in said]


def test_every_top_level_script_is_in_the_readme_and_has_its_manual(readme, checkout):
    for script in ("immich_stage.py", "embed_worker.py", "cluster_immich.py", "sort_faces.py", "config.py"):
        assert script in readme
        run = subprocess.run([sys.executable, checkout / script, "--help"], capture_output=True, text=True)
        assert run.returncode == 0 and "Exit" in run.stdout
