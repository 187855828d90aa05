"""Paths as WSL and as Windows see them: facesets.paths, alone and against the wslpath of the driver's tests."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stubs.machine import STUBS

from facesets import paths

NAMES = st.text(st.characters(exclude_characters='/\\:*?"<>|\0', exclude_categories=("Cc", "Cs")), min_size=1,
                max_size=60).filter(lambda name: name not in (".", ".."))
WAYS = st.lists(NAMES, min_size=1, max_size=6)
ROOTS = st.sampled_from(["/mnt/", "/", "/windows/drives/"])


@given(st.sampled_from("cdxz"), WAYS, ROOTS, st.booleans())
def test_a_path_on_a_drive_goes_there_and_comes_back(drive: str, way: list[str], root: str, trailing: bool) -> None:
    path = f"{root}{drive}/" + "/".join(way) + ("/" if trailing else "")
    there = paths.wsl_to_win(path, distribution="", root=root)
    assert there == f"{drive.upper()}:\\" + "\\".join(way) + ("\\" if trailing else "")
    assert paths.win_to_wsl(there, distribution="", root=root) == path


@given(st.sampled_from(["home", "srv", "größe 😀"]), WAYS)
def test_a_path_in_the_distribution_goes_there_and_comes_back(first: str, way: list[str]) -> None:
    path = "/" + "/".join([first, *way])
    there = paths.wsl_to_win(path, distribution="Ubuntu-24.04", root="/mnt/")
    assert there == "\\\\wsl.localhost\\Ubuntu-24.04" + path.replace("/", "\\")
    assert paths.win_to_wsl(there, distribution="Ubuntu-24.04", root="/mnt/") == path
    assert paths.win_to_wsl(there.replace("wsl.localhost", "wsl$"), distribution="ubuntu-24.04", root="/mnt/") == path
    assert paths.win_to_wsl(there, distribution="Debian", root="/mnt/") == ""


@given(WAYS)
def test_a_share_with_a_letter_of_its_own_goes_there_and_comes_back(way: list[str]) -> None:
    shares = paths.parse_shares("/mnt/nas=X:, /mnt/nas/deep=Y:\\photos")
    for folder, there in (("/mnt/nas", "X:"), ("/mnt/nas/deep", "Y:\\photos")):
        path = folder + "/x/" + "/".join(way)
        translated = paths.wsl_to_win(path, distribution="", root="/mnt/", shares=shares)
        assert translated == there + "\\x\\" + "\\".join(way)
        assert paths.win_to_wsl(translated, distribution="", root="/mnt/", shares=shares) == path


@pytest.mark.parametrize(("path", "there"), [
    ("/mnt/c/a b/it's \"x\" & $y.jpg", "C:\\a b\\it's \"x\" & $y.jpg"), 
    ("/mnt/c/trailing./dots..", "C:\\trailing.\\dots.."),
    ("//nas/photos/a", "\\\\nas\\photos\\a"), ("/mnt/c", "C:"), ("/mnt/c/", "C:\\"), ("relative/a", ""),
    ("/mnt/c/" + "d" * 300, "C:\\" + "d" * 300), ("/home/me", ""), ("/mnt/nas/a", ""),
])
def test_what_windows_sees(path: str, there: str) -> None:
    assert paths.wsl_to_win(path, distribution="", root="/mnt/") == there


@pytest.mark.parametrize("text", ["X:", "nas=X:", "/mnt/nas", "/mnt/nas="])
def test_a_mapping_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is written"):
        paths.parse_shares(text)


@pytest.mark.parametrize(("text", "root"), [
    ("", "/mnt/"), ("[automount]\nroot = /\n", "/"), ("[automount]\nroot=/windows\n", "/windows/"),
    ("[automount]\nroot = \"/win dir/\"\n[network]\nx\n", "/mnt/"), ("[user]\ndefault=me\n", "/mnt/"),
])
def test_the_mount_root_is_that_of_wsl_conf(tmp_path: Path, text: str, root: str) -> None:
    conf = tmp_path / "wsl.conf"
    conf.write_text(text)
    assert paths.mount_root(str(conf)) == root


def test_it_agrees_with_wslpath(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "größe" / "a b'c & 😀"
    folder.mkdir(parents=True)
    run = subprocess.run([sys.executable, STUBS / "wslpath.py", "-w", folder], env={"FAKE_WINDOWS": str(tmp_path)},
                         capture_output=True, text=True, check=True)
    assert run.stdout.rstrip("\n") == paths.wsl_to_win(folder, distribution="", root=f"{tmp_path}/")
