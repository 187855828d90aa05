"""Files, messages, and the two hand-off formats."""

import json
import os
import stat
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import config
from facesets.common import errors, files, terminal
from facesets.formats import proposal
from facesets.formats import queue as queues


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.json"
    files.write_json(path, {"schema": 1, "name": "größe \udcff"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    before = path.read_bytes()
    with pytest.raises(RuntimeError), files.replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == before and [item.name for item in path.parent.iterdir()] == ["file.json"]
    assert files.read_json(path, 1)["name"] == "größe \udcff"


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_lies_under_the_temporary_name_is_not_written_through(tmp_path, link):
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    link(theirs, tmp_path / ".file.json.tmp")
    files.write_json(tmp_path / "file.json", {})
    assert theirs.read_text() == "theirs" and (tmp_path / "file.json").read_text() == "{}\n"
    assert not (tmp_path / "file.json").is_symlink() and not (tmp_path / ".file.json.tmp").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema": 99}', b"[" * 100_000])
def test_json_that_is_not_ours_fails_in_words(tmp_path, content):
    path = tmp_path / "queue.json"
    path.write_bytes(content)
    with pytest.raises(errors.Failure, match=r"queue\.json.*immich_stage\.py"):
        queues.read(path)


def test_the_second_run_is_refused_by_the_name_of_the_first(tmp_path):
    lock = tmp_path / "run.lock"
    held = subprocess.Popen([sys.executable, "-c", "import sys, pathlib; from facesets.common import files\n"
                             "with files.only_one(pathlib.Path(sys.argv[1]), 'stage for peter'):\n"
                             "    print('held', flush=True); sys.stdin.read()", str(lock)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=os.path.dirname(config.__file__))
    assert held.stdout.readline() == b"held\n"
    with pytest.raises(errors.Paused, match=f"stage for peter .process {held.pid} "), files.only_one(lock, "another"):
        pass
    held.kill()
    held.wait()
    with files.only_one(lock, "another"):
        assert lock.exists()


@given(st.text())
def test_no_foreign_text_can_command_a_terminal(text):
    shown = terminal.safe(text)
    assert len(shown) <= terminal.LONGEST
    # unassigned to this Python: next year's emoji, which steer nothing
    assert all(char.isprintable() or char in terminal.JOINERS or unicodedata.category(char) in ("Zs", "Cn")
               for char in shown)


@pytest.mark.parametrize(("error", "status"), [
    (errors.Failure("x"), 1), (errors.Paused("x"), 2), (errors.UsageError("x"), 64), (errors.NotAllowed("x"), 77),
    (errors.SettingsError("x"), 78), (KeyboardInterrupt(), 2), (ZeroDivisionError("x"), 1)])
def test_every_ending_is_one_line_and_a_status(error, status, capsys):
    @terminal.script
    def main(argv=None):
        raise error

    assert main([]) == status
    assert capsys.readouterr().err.count("\n") == 1


entries = st.builds(
    queues.Entry, asset_id=st.text(), path=st.text(), win_path=st.text(),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    bytes=st.integers(0, 1 << 50), source=st.sampled_from(["original", "preview"]), taken_at=st.text(),
    aliases=st.lists(st.builds(queues.Alias, st.text(), st.text()), max_size=2).map(tuple),
    faces=st.lists(st.builds(queues.ImmichFace, st.tuples(*[st.floats(0, 1)] * 4), st.text(), st.text()),
                   max_size=2).map(tuple))


@given(st.builds(queues.Queue, st.text(), st.text(), st.lists(entries, max_size=3).map(tuple)))
def test_a_queue_reads_back_as_it_was_written(tmp_path_factory, queue):
    path = tmp_path_factory.mktemp("queue") / "queue.json"
    queues.write(path, queue)
    assert queues.read(path) == queue


json_values = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), lambda inner:
                           st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3))


@given(st.fixed_dictionaries({"schema": st.just(1)}, optional={name: json_values for name in (
    "user", "server", "entries", "known", "run", "facesets", "thin", "extend", "caches", "rejected", "ambiguous")}))
def test_a_queue_or_proposal_of_another_shape_fails_in_words(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("odd") / "file.json"
    path.write_text(json.dumps(value))
    for read in (queues.read, proposal.read):
        try:
            read(path)
        except errors.Failure as failure:
            assert str(path) in str(failure)


def test_a_proposal_reads_back_as_it_was_written(tmp_path):
    made = proposal.Proposal(
        "20261122-cluster-peter", "cluster_immich.py", "2026-11-22T18:00:00Z", {"name": "buffalo_l"}, ("a.npz",),
        facesets=(proposal.Group((proposal.Face("ab@1,2,3,4", 0.2),), "Ada", {"Ada": 3}),),
        extend={"faceset_003": (proposal.Face("cd@1,2,3,4", 0.1),)}, counts={"known": 1})
    proposal.write(tmp_path / "refine.json", made)
    assert proposal.read(tmp_path / "refine.json") == made
