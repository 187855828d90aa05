"""The key is nowhere but where it must be, and nobody else can read what we write."""

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from busy import LIMIT
from chain_lab import CHECKOUT, KEY, ROUNDS, Chain, session_members

PASSWORD = "TRUSTpasswordMARKED-7351"
FORMS = [form for secret in (KEY, PASSWORD) for form in (
    secret.encode(), secret.encode("utf-16-le"), secret[::-1].encode(), __import__("base64").b64encode(secret.encode()),
    secret.encode().hex().encode())]
VERBOSE = {"FACESETS_DEBUG": "1", "PYTHONDEVMODE": "1", "FACESETS_PROGRESS": "1", "FACESETS_RETRY_PAUSE": "0.0005"}


def holding(data: bytes) -> bool:
    return any(form in data for form in FORMS)


class Watch(threading.Thread):
    """Looks into the command lines of everything that a command starts, and into the environments of the children."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session, self.seen, self.found, self.stop = session, set(), [], threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.01):
            for process in session_members(self.session):
                try:
                    line = Path(f"/proc/{process}/cmdline").read_bytes()
                    title = Path(f"/proc/{process}/comm").read_bytes()
                    inherited = Path(f"/proc/{process}/environ").read_bytes()
                except OSError:
                    continue
                self.seen.add(line)
                if holding(line + title):
                    self.found.append(line)
                if holding(inherited) and any(script in line for script in (b"embed_worker", b"cluster_immich")):
                    self.found.append(b"environ of " + line)


def watched(chain: Chain, command: list[str], **environment: str) -> tuple[int, str, Watch]:
    process = chain.start(command, **environment)
    watch = Watch(process.pid)
    watch.start()
    out = process.communicate(timeout=LIMIT)[0]
    watch.stop.set()
    watch.join()
    return process.returncode, out, watch


def files_holding(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and holding(path.read_bytes())]


def test_the_key_is_in_no_file_log_output_argument_or_child_and_files_are_the_owners(chain):
    """Under the most careless umask that there is, as verbose as can be."""
    chain.clear()
    for name, command in chain.commands().items():
        status, out, watch = watched(chain, ["bash", "-c", 'umask 000; exec "$@"', "x", *command], **VERBOSE)
        assert status == 0, out
        assert not holding(out.encode()), name
        assert watch.found == [], name
        assert len(watch.seen) >= (1 if name == "stage" else 3)
    assert sum(request.headers.get("x-api-key") == KEY for request in chain.server.log) > 20
    assert files_holding(chain.folder) == []
    wrong = [f"{stat.S_IMODE(path.lstat().st_mode):04o} {path}" for folder in (chain.root, chain.library)
             for path in [folder, *folder.rglob("*")] if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    assert wrong == []


@pytest.mark.parametrize("fault", [
    {"kind": "status", "status": 401}, {"kind": "status", "status": 500}, {"kind": "reset"},
    {"kind": "redirect", "location": f"http://127.0.0.1:9/?key={KEY[:5]}"}])
def test_no_failure_tells_the_key(chain, fault):
    chain.clear()
    chain.server.faults.add(path="*/search/metadata", **fault)
    try:
        status, out, watch = watched(chain, chain.commands()["stage"], **VERBOSE)
    finally:
        chain.server.faults.clear()
    assert status and not holding(out.encode()) and not watch.found
    assert files_holding(chain.folder) == []


def test_wrong_settings_do_not_tell_the_key(chain, tmp_path):
    """A key where it does not belong is not repeated, not even in the complaint about it."""
    chain.clear()
    stage = chain.commands()["stage"]
    readable = tmp_path / "key"
    readable.write_text(KEY)
    readable.chmod(0o644)
    for environment in (
            {"IMMICH_API_KEY": KEY + " \\u202e"}, {"IMMICH_API_KEY": "", "IMMICH_API_KEY_FILE": str(readable)},
            {"IMMICH_URL": f"http://user:{KEY}@127.0.0.1:9"}, {"IMMICH_URL": f"http://127.0.0.1:9/?apiKey={KEY}"},
            {"IMMICH_URL": KEY}, {"FACESETS_WORKERS": KEY[:9]}):
        status, out = chain.run(stage, **{**VERBOSE, **environment})
        assert status == 78 and not holding(out.encode()), out
    assert files_holding(chain.root) == []


def test_a_login_leaves_no_password_and_no_token(chain, tmp_path):
    chain.clear()
    user = next(iter(chain.server.library.users.values()))
    user.password, before = PASSWORD, user.password
    secret = tmp_path / "login"
    secret.write_text(f"IMMICH_EMAIL={user.email}\nIMMICH_PASSWORD={PASSWORD}\n")
    secret.chmod(0o600)
    try:
        status, out, watch = watched(chain, chain.commands()["stage"], IMMICH_LOGIN_FILE=str(secret), IMMICH_API_KEY="",
                                     **VERBOSE)
    finally:
        user.password = before
    assert status == 0 and not holding(out.encode()) and not watch.found, out
    tokens = {request.headers["authorization"].split()[-1] for request in chain.server.log
              if "authorization" in request.headers}
    assert len(tokens) == 1 and not chain.server.library.sessions, "the session is not closed"
    everything = b"".join(path.read_bytes() for path in chain.root.rglob("*") if path.is_file())
    assert not holding(everything) and tokens.pop().encode() not in everything


@pytest.mark.skipif(not ROUNDS, reason="only in the long run: TRUST_ROUNDS")
@pytest.mark.skipif(not os.path.exists("/usr/bin/gcore"), reason="no gcore: the memory cannot be looked at")
def test_the_memory_of_the_worker_and_of_clustering_never_had_the_key(chain, tmp_path):
    """They need no key, so a core of theirs, which a crash may leave, cannot have one: the driver takes it away."""
    chain.clear()
    assert chain.run(chain.commands()["stage"])[0] == 0
    process = chain.start(chain.commands()["driver"])
    core = None
    end = time.monotonic() + LIMIT
    while core is None and time.monotonic() < end:
        for member in session_members(process.pid):
            try:
                line = Path(f"/proc/{member}/cmdline").read_bytes()
            except OSError:
                continue
            if b"embed_worker.py" in line:
                subprocess.run(["gcore", "-o", str(tmp_path / "core"), str(member)], capture_output=True, check=False)
                core = next(tmp_path.glob("core.*"), None)
        time.sleep(0.05)
    process.communicate(timeout=LIMIT)
    if core is None:
        pytest.skip("gcore may not look into processes here")
    found = holding(core.read_bytes())
    core.unlink()
    assert not found


def test_the_settings_that_the_driver_reads_hold_no_key(chain):
    run = subprocess.run([sys.executable, str(CHECKOUT / "config.py"), "--shell"], env=chain.environment,
                         capture_output=True, check=True)
    assert b"FACESETS_DATA_ROOT=" in run.stdout and not holding(run.stdout + run.stderr)
    for script in ("immich_stage.py", "embed_worker.py", "cluster_immich.py", "sort_faces.py"):
        command = [sys.executable, str(CHECKOUT / script), "--help"]
        text = subprocess.run(command, capture_output=True, check=True).stdout
        assert b"--api-key" not in text and b"--password" not in text and b"--immich-api-key " not in text
