"""The report page as it is written: what it says adds up, hostile text stays text, and nothing may be fetched."""

import base64
import hashlib
import html
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_library as made_up

import sort_faces
from facesets.common import files, terminal
from facesets.common.errors import Paused
from facesets.formats import cache, proposal
from facesets.library import folder as folders
from facesets.library import store
from facesets.report import charts, make, runs, sections, sheets, shelf

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)>"\'{{7*7}}\u202e\u2028&amp;'


class Reader(HTMLParser):
    """Tags with their attributes, text, and the content of script and style."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.raw: list[tuple[str, str]] = []
        self.text = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            self.raw.append((self._open, data))
        else:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [values[name] for _, values in self.tags if name in values]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    made_up.make_library(root / "lib", 14, faces=(6, 30), size=96)
    made_up.make_work(root / "work")
    return root


@pytest.fixture
def library(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "copy")
    return tmp_path / "copy" / "lib"


def report(library: Path) -> Reader:
    make.make(library, library.parent / "work", 0.1)
    return Reader((library / make.PAGE).read_text(encoding="utf-8"))


def data_of(page: Reader) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(page.raw[1][1])
    return value


def test_the_page_shows_every_faceset_and_every_picture_it_names_is_there(library: Path) -> None:
    page = report(library)
    cards = [values["id"] for tag, values in page.tags if tag == "article"]
    assert cards == [f"faceset_{number:03d}" for number in range(1, 15)]
    pictures = [values["src"] for tag, values in page.tags if tag == "img"]
    assert len(pictures) > 30
    assert all((library / picture).is_file() for picture in pictures)
    assert all(values.get("loading") == "lazy" and "alt" in values for tag, values in page.tags if tag == "img")


def test_nothing_but_our_own_script_and_style_may_run_and_nothing_is_fetched(library: Path) -> None:
    page = report(library)
    policy = next(values["content"] for tag, values in page.tags
                  if tag == "meta" and values.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and "unsafe" not in policy and "http" not in policy
    style, data, script = page.raw
    for directive, (_, text) in (("script-src", script), ("style-src", style)):
        assert rules[directive] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert json.loads(data[1])["sets"]
    for name in ("src", "href", "action"):
        assert not [value for value in page.attributes(name) if re.match(r"[a-z]+:|//", value)]
    assert not page.attributes("style") and not [name for _, values in page.tags for name in values if name[:2] == "on"]


def test_hostile_names_are_text_everywhere(library: Path) -> None:
    rng = np.random.default_rng(4)
    number = 15
    manifest = store.read_manifest(library / "manifest.json")
    entry = made_up.add_faceset(library, number, made_up.around(np.eye(1, 64, dtype=np.float32)[0], 20, 0.2, rng), rng,
                                name=HOSTILE, names={HOSTILE: 9, HOSTILE + "2": 8}, size=64)
    other = made_up.add_faceset(library, 16, made_up.around(np.eye(64, dtype=np.float32)[1], 6, 0.2, rng), rng,
                                name="Paul", names={HOSTILE: 6}, size=64)
    manifest.facesets += [entry, other]
    manifest.runs[-1]["verb"] = HOSTILE
    store.write_manifest(library / "manifest.json", manifest)
    place = library / "faceset_015" / folders.MANIFEST
    record = folders.read_record(place)
    record.users = {HOSTILE: 20}
    record.left_out[0]["reason"] = HOSTILE
    folders.write_record(place, record)
    work = library.parent / "work"
    whole = cache.read(work / "cache" / "immich_peter.npz")
    whole.photos.append(cache.Photo(f"/photos/{HOSTILE}.jpg", "ab" * 32, "error", HOSTILE))
    cache.write(work / "cache" / "immich_peter.npz", whole)
    page = report(library)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert not [values for _, values in page.tags if "onerror" in values]
    assert page.text.count("<script>alert(1)</script>") >= 5 and "{{7*7}}" in page.text
    assert next(item for item in data_of(page)["sets"] if item["n"] == number)["t"] == terminal.name(HOSTILE)


def test_a_chart_has_a_bar_for_every_count_and_the_same_numbers_beside(library: Path) -> None:
    page = report(library)
    shown = charts.all_of(shelf.read(library, store.Library(library).manifest())[0])
    heights = [float(values["height"]) for tag, values in page.tags
               if tag == "rect" and values.get("class") == "bar"]
    counts = [(chart, count) for chart in shown for _, count in chart.rows if count]
    assert len(shown) == 2 and len(counts) > 8
    assert heights == pytest.approx([158 * count / chart.top for chart, count in counts], abs=0.06)
    assert all(f"{label}: {count} {chart.unit}" in page.text for chart in shown for label, count in chart.rows if count)


def test_the_numbers_of_every_stage_add_up(library: Path) -> None:
    work = runs.users(library.parent / "work")
    peter = work[0]
    assert {stage.name: stage.total for stage in peter.stages} == {"stage": 169, "embed": 27, "cluster": 24}
    assert all(stage.adds_up for stage in peter.stages)
    stage, embed = peter.stages[:2]
    assert (stage.count("staged"), stage.count("the same bytes as a staged one")) == (27, 2)
    assert stage.reasons == {"the server went away": 2}
    assert (embed.left, embed.reasons) == (1, {"is cut short": 1})
    page = report(library)
    assert "These do not add up" not in page.text


def test_numbers_that_do_not_add_up_are_said(library: Path) -> None:
    place = library.parent / "work" / "immich" / "peter" / "refine.json"
    value = files.read_json(place)
    value["counts"]["leftover"] += 1
    files.write_json(place, value)
    assert "These do not add up: 25 are accounted for." in report(library).text


def test_a_damaged_faceset_or_cache_is_named_and_the_rest_is_shown(library: Path) -> None:
    (library / "faceset_003" / folders.MANIFEST).write_text("{", encoding="utf-8")
    (library.parent / "work" / "cache" / "immich_peter.npz").write_bytes(b"no cache")
    page = report(library)
    assert len([tag for tag, _ in page.tags if tag == "article"]) == 13
    assert "faceset_003: " in page.text and "is not a cache" in page.text


def test_a_picture_name_that_leaves_the_faceset_is_refused(library: Path) -> None:
    place = library / "faceset_002" / folders.MANIFEST
    value = files.read_json(place)
    value["faces"][0]["file"] = "../faceset_001/0001.png"
    files.write_json(place, value)
    page = report(library)
    assert "faceset_002: " in page.text and not [src for src in page.attributes("src") if ".." in src]


def test_only_the_owner_can_read_the_report_and_its_pictures(library: Path) -> None:
    report(library)
    assert stat.S_IMODE((library / "index.html").stat().st_mode) == 0o600
    assert stat.S_IMODE((library / sheets.FOLDER).stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (library / sheets.FOLDER).glob("*.webp")} == {0o600}


def test_a_second_report_makes_only_the_sheets_that_changed_and_clears_the_old(library: Path) -> None:
    report(library)
    before = {path.name: path.stat().st_mtime_ns for path in (library / sheets.FOLDER).glob("*.webp")}
    (library / "faceset_001" / "0001.png").unlink()
    page = report(library)
    after = {path.name: path.stat().st_mtime_ns for path in (library / sheets.FOLDER).glob("*.webp")}
    assert {name: after[name] for name in before if name in after} == {
        name: when for name, when in before.items() if name in after}
    assert all("faceset_001" in name for name in before.keys() ^ after.keys()) and before.keys() != after.keys()
    assert data_of(page)["sets"][0]["s"] == len(list((library / "faceset_001").glob("*.png")))


def test_the_report_is_no_faceset(library: Path) -> None:
    before = [item.folder for item in store.Library(library).canonical()]
    report(library)
    assert [item.folder for item in store.Library(library).canonical()] == before


def test_the_command_writes_the_report_and_says_where(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["report", "--json", "--library", str(library), "--data-root", str(library.parent / "work")]
    assert sort_faces.main(arguments) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"report": str(library / "index.html"), "facesets": 14, "problems": [],
                                    "pictures": len(list(library.glob("faceset_*/*.png"))),
                                    "to_check": json.loads(said.out)["to_check"]}
    assert str(library / "index.html") in said.err


def test_an_empty_library_has_a_report_and_an_absent_one_a_message(tmp_path: Path,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    files.private_folder(tmp_path / "lib")
    assert "Nobody yet" in report(tmp_path / "lib").text
    assert sort_faces.main(["report", "--library", str(tmp_path / "none"), "--data-root", str(tmp_path)]) == 1
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(("folder", "field", "value"), [
    ("faceset_001", "quality", "NaN"), ("faceset_002", "distance", "Infinity"), ("faceset_003", "quality", "1e999")])
def test_numbers_that_are_none_cost_one_faceset_and_no_page(library: Path, folder: str, field: str,
                                                           value: str) -> None:
    place = library / folder / folders.MANIFEST
    place.write_text(re.sub(rf'"{field}": ?[\d.e-]+', f'"{field}": {value}', place.read_text(), count=1))
    page = report(library)
    assert len(data_of(page)["sets"]) == 13 and "Infinity" not in page.raw[1][1] and "NaN" not in page.raw[1][1]
    assert f"{folder}: " in page.text and "is no number" in page.text


def test_folders_of_ones_own_are_shown_beside_the_users(library: Path) -> None:
    work = library.parent / "work"

    def left_out() -> object:
        return sections.context(sections.gather(store.Library(library), work, 0.1), "")["left_out"]
    once = left_out()
    shutil.copy(work / "immich" / "peter" / "refine.json", work / "refine.json")
    assert once and left_out() == once      # each run of clustering looks at the faces of all
    later = replace(proposal.read(work / "refine.json"), caches=("own.npz",), created="2027-01-01T00:00:00Z")
    proposal.write(work / "refine.json", replace(later, rejected=(), leftover=()))
    proposal.write(work / "immich" / "peter" / "refine.json", replace(later, created="", caches=("peter.npz",)))
    assert left_out() == once               # but for one that was told to look at a single cache
    shutil.copy(work / "cache" / "immich_peter.npz", work / "cache" / "nl_full.npz")
    found = runs.users(work)
    assert [(user.label, [stage.name for stage in user.stages]) for user in found] == [
        ("peter", ["stage", "embed", "cluster"]), (runs.OWN, ["embed", "cluster"])]
    assert "1 is cut short" in report(library).text


def test_what_the_report_and_status_say_to_type_finds_the_same_library(library: Path, tmp_path: Path,
                                                                       capsys: pytest.CaptureFixture[str]) -> None:
    odd, work = tmp_path / "a b's", library.parent / "work"
    library.rename(odd)
    flags = ["--library", str(odd), "--data-root", str(work)]
    assert sort_faces.main(["report", *flags]) == 0
    page = (odd / "index.html").read_text(encoding="utf-8")
    typed = [html.unescape(command) for command in re.findall("<code>(python .*?)</code>", page)]
    assert {command.split()[2] for command in typed} == {"review", "undo"}
    capsys.readouterr()
    assert sort_faces.main(["status", *flags]) == 0
    said = capsys.readouterr().out
    typed += re.findall("(?:python|bash) [a-z_]+[.].*?(?=    #|$)", said, re.M)
    assert len(typed) > 2, said
    for command in typed:
        assert shlex.split(command)[-4:] == ["--data-root", str(work), "--library", str(odd)], command


def test_a_tab_that_would_hold_nothing_is_not_there(tmp_path: Path) -> None:
    made_up.make_library(tmp_path / "lib", 2)
    for path in (tmp_path / "lib").glob("faceset_*/manifest.json"):
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "left_out": []}))
    page = report(tmp_path / "lib")
    assert page.attributes("data-view") == ["facesets", "check", "charts", "runs"]


def test_a_library_that_is_at_work_has_its_report_later(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with store.Library(library).locked("the test"):
        assert sort_faces.main(["report", "--library", str(library), "--data-root", str(library.parent / "work")]) == 2
    assert "the test" in capsys.readouterr().err and not (library / "index.html").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
def test_a_full_disk_pauses_the_report_and_the_same_command_goes_on(library: Path) -> None:
    small = library / sheets.FOLDER
    files.private_folder(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(small)], capture_output=True
                      ).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        with pytest.raises(Paused, match=r"No space left on device; mend that, then run the same command again"):
            report(library)
        assert not (library / "index.html").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)
    (small / ".faceset_001-0.webp.tmp").write_bytes(b"half")
    page = report(library)
    assert all((library / picture).is_file() for picture in page.attributes("src"))
    assert not list(small.glob("*.tmp"))
