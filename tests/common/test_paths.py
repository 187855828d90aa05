"""Paths of WSL as Windows sees them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from facesets.common import paths
from facesets.common.errors import SettingsError

UBUNTU = {"distribution": "Ubuntu", "root": "/mnt/"}
PAIRS = [
    ("/mnt/x/a/b", "X:\\a\\b"), ("/mnt/c/", "C:\\"), ("/mnt/c", "C:"), ("/mnt/x/Ä Ö/ü.JPG", "X:\\Ä Ö\\ü.JPG"),
    ("/mnt/x/a/", "X:\\a\\"), ("/home/me/Photos", "\\\\wsl.localhost\\Ubuntu\\home\\me\\Photos"),
    ("/", "\\\\wsl.localhost\\Ubuntu\\"), ("/mnt/xy/a", "\\\\wsl.localhost\\Ubuntu\\mnt\\xy\\a"),
    ("//nas/photos/a b", "\\\\nas\\photos\\a b"), ("//nas/photos/", "\\\\nas\\photos\\"),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_known_paths_are_translated(ours, theirs):
    assert paths.wsl_to_win(ours, **UBUNTU) == theirs


def test_without_a_distribution_a_linux_path_has_no_windows_path():
    assert paths.wsl_to_win("/home/me", distribution="", root="/mnt/") == ""
    assert paths.wsl_to_win("photos/a", **UBUNTU) == ""


def test_the_mount_root_is_that_of_wsl_conf(tmp_path):
    conf = tmp_path / "wsl.conf"
    conf.write_text("[boot]\nsystemd=true\n[automount]\nroot = /drives\n")
    assert paths.mount_root(str(conf)) == "/drives/"
    assert paths.wsl_to_win("/drives/c/a", distribution="", root="/drives/") == "C:\\a"
    (tmp_path / "root.conf").write_text("[automount]\nroot = /\n")
    assert paths.mount_root(str(tmp_path / "root.conf")) == "/"
    assert paths.wsl_to_win("/c/a", distribution="Ubuntu", root="/") == "C:\\a"
    assert paths.mount_root(str(tmp_path / "absent")) == "/mnt/"


def test_a_share_that_windows_sees_under_another_letter_translates_by_the_mapping():
    shares = paths.parse_shares("/mnt/nas=X:, /srv/p=\\\\nas\\photos")
    for ours, theirs in (("/mnt/nas/a/b", "X:\\a\\b"), ("/srv/p/a", "\\\\nas\\photos\\a"), ("/mnt/nas", "X:\\")):
        assert paths.wsl_to_win(ours, **UBUNTU, shares=shares) == theirs
    assert paths.wsl_to_win("/mnt/nasty/a", **UBUNTU, shares=shares).startswith("\\\\wsl.localhost")
    with pytest.raises(SettingsError, match="/mnt/nas=X:"):
        paths.parse_shares("X:=/mnt/nas")


part = st.text(st.characters(blacklist_characters="/\\\0", blacklist_categories=("Cs",)), min_size=1, max_size=12)
drive = st.builds(lambda letter, rest, end: "/mnt/" + "/".join([letter, *rest]) + end, st.sampled_from("abcxyz"),
                  st.lists(part, max_size=4), st.sampled_from(["", "/"]))
other = st.builds(lambda top, rest, end: "/" + "/".join([top, *rest]) + end, st.sampled_from(["home", "srv", "mntx"]),
                  st.lists(part, max_size=4), st.sampled_from(["", "/"]))
share = st.builds(lambda host, rest, end: "//" + "/".join([host, *rest]) + end, st.sampled_from(["nas", "10.0.0.2"]),
                  st.lists(part, min_size=1, max_size=4), st.sampled_from(["", "/"]))


@given(st.one_of(drive, other, share))
@example("/mnt/c//a")
def test_windows_finds_every_path_of_wsl(path):
    theirs = paths.wsl_to_win(path, **UBUNTU).replace("\\", "/")
    if theirs[1] == ":":
        theirs = f"/mnt/{theirs[0].lower()}{theirs[2:]}"
    assert theirs.removeprefix("//wsl.localhost/Ubuntu") == path
