"""Settings: flag over environment over file, read as they are written, refused by name."""

import argparse
import os
import subprocess
import sys

import pytest

import config
from facesets.common import errors, terminal


@pytest.fixture(autouse=True)
def nobodys_file(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "HERE", tmp_path)


def options(*argv, section=config.Clustering):
    parser = argparse.ArgumentParser()
    config.add_flags(parser, section)
    return parser.parse_args(argv)


def private(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)
    return path


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path):
    (tmp_path / ".env").write_text("FACESETS_MIN_FACES=7\nFACESETS_VETO_PHOTOS='4'  # a comment\n")
    (tmp_path / ".env").chmod(0o600)
    environment = {"FACESETS_MIN_FACES": "8"}
    assert config.load(config.Clustering, options("--min-faces", "9"), environment).min_faces == 9
    assert config.load(config.Clustering, options(), environment).min_faces == 8
    assert config.load(config.Clustering, options(), {}).min_faces == 7
    assert config.load(config.Clustering, options(), {}).veto_photos == 4


@pytest.mark.parametrize("text", ["six", "-1", "nan", "1e99", ""])
def test_a_setting_that_makes_no_sense_is_refused_by_name(text):
    with pytest.raises(errors.SettingsError, match="--min-faces"):
        config.load(config.Clustering, options("--min-faces", text), {})


def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "key"
    path.write_text("secret-key-1\n")
    path.chmod(0o644)
    server = config.Server(immich_api_key_file=path)
    with pytest.raises(errors.SettingsError, match="chmod 600") as refusal:
        config.api_key(server, {})
    assert "secret" not in str(refusal.value)
    path.chmod(0o600)
    assert config.api_key(server, {}) == "secret-key-1"
    assert config.api_key(server, {"IMMICH_API_KEY": "other"}) == "other"
    with pytest.raises(errors.SettingsError, match="is a folder"):
        config.api_key(config.Server(immich_api_key_file=tmp_path), {})


@pytest.mark.parametrize("key", ["two words", "newline\n", "ümlaut", "\x1b[31m"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key):
    with pytest.raises(errors.SettingsError) as refusal:
        config.api_key(config.Server(), {"IMMICH_API_KEY": key})
    assert key not in str(refusal.value)


@pytest.mark.parametrize("label", ["", "../peter", "Peter", "a" * 33, "-x", "a b", "é", "con/aux"])
def test_a_label_that_could_steer_a_path_is_refused(label):
    with pytest.raises(errors.UsageError):
        terminal.user_label(label)


def test_config_prints_assignments_that_a_shell_reads_back(checkout, tmp_path):
    odd = tmp_path / "it's $HOME; here"
    run = subprocess.run(["bash", "-c", 'eval "$("$0" config.py --shell)"; printf %s "$FACESETS_DATA_ROOT"',
                          sys.executable], cwd=checkout, capture_output=True, text=True,
                         env={**os.environ, "FACESETS_DATA_ROOT": str(odd), "IMMICH_API_KEY": "secret-key-1"})
    assert run.stdout == str(odd)
    printed = subprocess.run([sys.executable, "config.py", "--shell"], cwd=checkout, capture_output=True, text=True,
                             env={**os.environ, "IMMICH_API_KEY": "secret-key-1"})
    assert printed.returncode == 0 and "secret-key-1" not in printed.stdout + printed.stderr


LINES = [       # a line of .env -> what the value is
    ("FACESETS_EXCLUDE=**/#recycle/**", "**/#recycle/**"), ("FACESETS_EXCLUDE=a/** # ours", "a/**"),
    ("FACESETS_EXCLUDE=/srv/p=\\\\nas\\photos", "/srv/p=\\\\nas\\photos"), ("export FACESETS_EXCLUDE='it is'", "it is"),
    ("FACESETS_EXCLUDE=X:\\new\\table", "X:\\new\\table"), ("FACESETS_EXCLUDE=a b", "a b"),
    ('FACESETS_EXCLUDE="a # b"', "a # b"),
    ("FACESETS_EXCLUDE=${HOME}/$x`y`", "${HOME}/$x`y`"), ("# a remark\n\nFACESETS_EXCLUDE = ä", "ä"),
    ("\ufeffFACESETS_EXCLUDE=first line of Notepad\r\n", "first line of Notepad"),
]


@pytest.mark.parametrize(("text", "value"), LINES)
def test_a_line_of_the_file_is_read_as_it_is_written(tmp_path, text, value):
    environment = {"FACESETS_ENV_FILE": str(private(tmp_path / "env", text + "\n"))}
    assert config.load(config.Staging, None, environment).exclude == (value,)


@pytest.mark.parametrize("text", ["FACESETS_MIN_FACES", "FACESETS_MIN_FACES 3", "FACESETS_MIN_FACES='3"])
def test_a_line_that_gives_no_value_is_named(tmp_path, text):
    with pytest.raises(errors.SettingsError, match=r"env:2: not of the form NAME=value"):
        config.dotenv(private(tmp_path / "env", f"A=1\n{text}\n"))


@pytest.mark.parametrize(("section", "flag"), [
    (config.Server, "--connect-timeout"), (config.Server, "--read-timeout"), (config.Exporting, "--export-workers"),
    (config.Exporting, "--image-size"), (config.Staging, "--workers"), (config.Embedding, "--save-photos")])
def test_nought_is_refused_where_it_makes_no_sense(section, flag):
    with pytest.raises(errors.SettingsError, match=f"{flag} is 0.*out of range"):
        config.load(section, options(flag, "0", section=section), {})


@pytest.mark.parametrize(("section", "flag", "value"), [
    (config.Clustering, "--known-distance", "45"), (config.Clustering, "--min-score", "50"),
    (config.Exporting, "--image-size", "51200"), (config.Staging, "--workers", "65")])
def test_what_is_far_too_much_is_refused(section, flag, value):
    with pytest.raises(errors.SettingsError, match=f"{flag} is {value}.*out of range"):
        config.load(section, options(flag, value, section=section), {})


def test_a_misspelt_name_in_the_file_is_refused_and_other_programs_names_are_not(tmp_path):
    file = private(tmp_path / "env", "IMMICH_VERSION=v2\nUPLOAD_LOCATION=/x\nFACESETS_KNOWN_DISTACE=0.3\n")
    with pytest.raises(errors.SettingsError, match="DISTACE is no setting; did you mean FACESETS_KNOWN_DISTANCE"):
        config.load(config.Clustering, None, {"FACESETS_ENV_FILE": str(file)})
    private(file, file.read_text().replace("DISTACE", "DISTANCE"))
    assert config.load(config.Clustering, None, {"FACESETS_ENV_FILE": str(file)}).known_distance == 0.3


def test_a_home_that_nobody_has_is_refused_by_name():
    with pytest.raises(errors.SettingsError, match=r"--data-root.*without ~"):
        config.load(config.Paths, options("--data-root", "~nobodyatall/work", section=config.Paths), {})


def test_a_key_file_of_windows_is_read_or_refused_in_words(tmp_path):
    marked = private(tmp_path / "marked", b"\xef\xbb\xbfsecret-key-1\r\n")
    assert config.api_key(config.Server(immich_api_key_file=marked), {}) == "secret-key-1"
    wide = private(tmp_path / "wide", "secret-key-1".encode("utf-16"))
    with pytest.raises(errors.SettingsError, match="save it as UTF-8"):
        config.api_key(config.Server(immich_api_key_file=wide), {})


def test_an_empty_variable_says_that_there_is_none_where_that_can_be(tmp_path):
    text = "FACESETS_SCHEDULER=tls://nas:8786\nFACESETS_KNOWN_DISTANCE=0.4\nFACESETS_LANES=3\n"
    written = {"FACESETS_ENV_FILE": str(private(tmp_path / "env", text))}
    emptied = {**written, "FACESETS_SCHEDULER": "", "FACESETS_KNOWN_DISTANCE": "", "FACESETS_LANES": ""}
    assert config.load(config.Engine, None, written).scheduler == "tls://nas:8786"
    assert config.load(config.Engine, None, emptied).scheduler == ""
    assert config.load(config.Clustering, None, emptied).known_distance is None
    assert config.load(config.Embedding, None, emptied).lanes == 3


def test_flags_of_the_driver_are_checked_and_printed_over_the_environment(checkout):
    def printed(*flags):
        return subprocess.run([sys.executable, "config.py", "--shell", *flags], cwd=checkout, capture_output=True,
                              text=True, env={**os.environ, "FACESETS_MODEL": "buffalo_l"})

    assert "FACESETS_MODEL=opencv_zoo" in printed("--model", "opencv_zoo").stdout.splitlines()
    assert printed("--no-such", "1").returncode == 64 and printed("--lanes", "-1").returncode == 78


def test_no_setting_of_whoever_runs_the_tests_steers_them():
    assert [config.load(section) for section in config.SECTIONS] == [section() for section in config.SECTIONS]
