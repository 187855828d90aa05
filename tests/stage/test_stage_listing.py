"""Every own image exactly once, proven by the gate, in few requests; and what 3.x needs."""

import json
import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from stage_lab import Lab, laboratory

from facesets.report import runs
from facesets.stage.judge import excluding

NEEDED = ("asset.read", "asset.download", "asset.view", "user.read")
ONE_DATE = "2020-06-01T12:00:00"


def seen(lab: Lab) -> set[str]:
    """Ids that the last run put into exactly one outcome."""
    import sqlite3
    db = sqlite3.connect(lab.user_dir / "state.db")
    rows = db.execute("SELECT id FROM assets WHERE run = (SELECT value FROM meta WHERE key = 'run')").fetchall()
    return {row[0] for row in rows}


def bulk(lab: Lab, count: int, **options: object) -> list[object]:
    """Assets that exist in listings only."""
    library = lab.server.library
    return [library.add_asset(lab.user, None, checksum=number.to_bytes(20, "big"), size=1000, width=400, height=300,
                              **{"taken": 1_500_000_000_000 + number * 1000, "name": f"{number}.jpg", **options})
            for number in range(count)]


def check_sums(summary: dict[str, object]) -> None:
    parts = ("staged_count", "deduped_against_existing", "deduped_against_staged", "skipped_no_big_face",
             "skipped_no_faces", "skipped_excluded", "skipped_foreign_owner", "skipped_download_error",
             "not_needed_yet", "pending")
    assert sum(summary[name] for name in parts) == summary["total_assets_seen"]


@pytest.mark.parametrize("ties", [1800, 2600])
@pytest.mark.parametrize("times", ["distinct", "equal"])
def test_thousands_of_assets_of_one_date_are_all_listed_in_few_requests(ties, times, tmp_path):
    """As recorded: offset paging of 2,600 photos, of which 1,800 share a date, shows 2,085 of them."""
    def fill(lab: Lab) -> None:
        lab.key = lab.server.add_key(lab.user, (*NEEDED, "asset.statistics"))
        for number, asset in enumerate(bulk(lab, ties, taken=ONE_DATE)):
            asset.created += number * 1000 if times == "distinct" else 0
        bulk(lab, 2600 - ties)
    with laboratory(tmp_path, fill=fill) as lab:
        run = lab.stage("--dry-run")
        assert run.status == 0, run.err
        assert run.summary["total_assets_seen"] == 2600 and run.summary["gate_held"]
        assert seen(lab) == set(lab.server.library.assets)
        if times == "distinct":
            assert run.summary["requests_before_downloads"] <= math.ceil(2600 / 1000) + 20
        check_sums(run.summary)


@pytest.mark.parametrize("permissions", [(*NEEDED, "asset.statistics"), NEEDED])
def test_a_bursty_library_takes_a_request_a_thousand_and_twenty(permissions, tmp_path):
    def fill(lab: Lab) -> None:
        lab.key = lab.server.add_key(lab.user, permissions)
        bulk(lab, 5000)
        for number, asset in enumerate(lab.server.library.assets.values()):
            asset.taken = asset.local = 1_400_000_000_000 + number // 7 * 86_400_000
        bulk(lab, 40, type="VIDEO")
    with laboratory(tmp_path, fill=fill) as lab:
        run = lab.stage("--dry-run")
        assert run.summary["gate_held"] and run.summary["total_assets_seen"] == 5000
        assert run.summary["requests_before_downloads"] <= 5 + 20


def hard(lab: Lab) -> None:
    """One of every kind."""
    other = lab.server.add_user("Other")
    lab.server.library.share(other, lab.user)
    lab.one(user=other, name="foreign.jpg")
    lab.one(visibility="archive", name="archived.jpg")
    lab.one(visibility="locked", name="locked.jpg")
    lab.one(visibility="hidden", name="hidden.jpg")
    lab.one(trashed=1, name="trashed.jpg")
    lab.one(type="VIDEO", name="video.mp4")
    lab.one(exif=None, name="no exif row.jpg")
    lab.one(exif=None, visibility="archive", name="no exif row, archived.jpg")
    lab.one(live_photo="00000000-0000-4000-8000-000000000001", name="live.jpg")
    lab.one(name="edited.jpg", edits=({"action": "crop", "parameters": {"x": 0, "y": 0, "width": 98, "height": 98}},))
    lab.one(name="Thumb.jpg", path="/volume1/photos/@eaDir/x/Thumb.jpg", external=True)
    lab.one(name="small.jpg", face_px=80)
    lab.one(name="nobody.jpg", faces=0)
    lab.one(name="fresh.jpg", width=None, height=None, thumbnails=False, faces=0)
    lab.one(name="invisible.jpg", faces=0)
    asset = lab.one(name="two.jpg")
    asset.faces = []
    anna = lab.server.add_person(lab.user, "Anna", hidden=True)
    for options in ({"person": anna}, {"visible": False}, {"deleted": True}):
        lab.server.library.add_face(asset, lab.server.face((0, 0, 99, 99), 100, 100, **options))
    seen_by_none = lab.one(name="only an invisible face.jpg", faces=0)
    lab.server.library.add_face(seen_by_none, lab.server.face((0, 0, 99, 99), 100, 100, visible=False))
    lab.add(7)


@pytest.mark.parametrize("version", [(2, 7, 2), (3, 1, 0)])
def test_what_a_smaller_face_would_stage_is_said(version, tmp_path):
    with laboratory(tmp_path, version) as lab:
        for face_px, count in ((70, 2), (40, 3)):
            lab.add(count, face_px=face_px)
        run = lab.stage()
        assert run.summary["big_enough_at_60_px"] == 2
        assert f"in {run.summary['skipped_no_big_face']}: --min-face-px 60 would stage 2 more" in run.err
        assert "--min-face-px 60 would stage 2 more" in runs.last_run(next(tmp_path.rglob("summary.json")))[0]
        more = lab.stage("--min-face-px", "60").summary
        assert (more["staged_count"], more["big_enough_at_60_px"]) == (run.summary["staged_count"] + 2, 0)


@pytest.mark.parametrize(("version", "login"), [((2, 7, 2), False), ((2, 7, 2), True), ((3, 0, 0), False),
                                                ((3, 1, 0), False), ((3, 1, 0), True), ((3, 2, 0), False),
                                                ((3, 3, 5), True)])
def test_every_kind_of_asset_ends_in_one_place_on_every_version(version, login, tmp_path):
    with laboratory(tmp_path, version, hard) as lab:
        if login:
            lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": lab.user.password, "IMMICH_API_KEY": ""}
        run = lab.stage()
        assert run.status == 0, run.err
        summary = run.summary
        check_sums(summary)
        assert f"{summary['total_assets_seen']} assets, after" in run.err, run.err
        assert sum(map(int, re.findall(r"^ +(\d+) [a-z]", run.err, re.M))) == summary["total_assets_seen"], run.err
        assert not re.search(r"^ +0 |_count|gate_", run.err, re.M) and "next: bash finalize_immich.sh peter" in run.err
        assert "the server counts what it listed\n" in run.err and "pruned" not in run.err
        assert summary["gate_held"], run.err
        assert {"staged": summary["staged_count"], "small": summary["skipped_no_big_face"],
                "none": summary["skipped_no_faces"], "excluded": summary["skipped_excluded"],
                "foreign": summary["skipped_foreign_owner"]} == {
                    "staged": 13, "small": 1, "none": 4, "excluded": 1, "foreign": 1}
        names = {entry["name"] for entry in lab.entries()}
        assert {"archived.jpg", "no exif row.jpg", "no exif row, archived.jpg", "live.jpg", "two.jpg",
                "edited.jpg"} <= names
        persons = [face["person_name"] for entry in lab.entries() for face in entry["faces"]]
        assert persons.count("Anna") == 1 and len(persons) == (12 if "one" in summary["faces_by"] else 13)
        faces = len(lab.server.log.find("/api/faces"))
        assert (faces > 0) == (version >= (3, 0, 0) and not login)
        assert len(lab.server.log.find("/api/sync/stream")) == (1 if login and version >= (3, 0, 0) else 0)
        assert faces <= 17      # not for those that cannot have any, nor for what is excluded or foreign


@pytest.mark.parametrize("version", [(3, 1, 0), (3, 2, 0), (3, 3, 5)])
def test_people_come_first_on_3_x_for_no_request_more(version, tmp_path):
    def fill(lab: Lab) -> None:
        lab.add(6, taken="2001-01-01T00:00:00")
        person = lab.server.add_person(lab.user, "Anna")
        for asset in lab.add(3):
            asset.faces = [lab.server.face((0, 0, 99, 99), 100, 100, person)]
    with laboratory(tmp_path, version, fill) as lab:
        known = {asset.id for asset in lab.server.library.assets.values() if asset.faces[0].person}
        lab.stage("--workers", "1")
        asked = [request.query["id"] for request in lab.server.log.find("/api/faces")]
        assert len(lab.server.log.find("/api/search/metadata")) == 2     # of the two visibilities
        assert len(known & set(asked[:3])) >= 2 and len(asked) == 9     # all but one that the other thread may hold


@pytest.mark.parametrize(("version", "asked"), [((3, 2, 2), ["AssetFacesV2"]), ((3, 3, 5), ["AssetFacesV3"]),
                                                ((3, 3, 0), ["AssetFacesV3", "AssetFacesV2"])])
def test_the_newest_stream_of_faces_that_a_server_has_is_read(version, asked, tmp_path):
    with laboratory(tmp_path, version, lambda lab: lab.add(2)) as lab:
        lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": lab.user.password, "IMMICH_API_KEY": ""}
        if len(asked) > 1:      # a server that does not know the newest
            lab.server.faults.add("status", "*/sync/stream", status=400, times=1)
        assert lab.stage().summary["staged_count"] == 2
        types = [request.body["types"] for request in lab.server.log.find("*/sync/stream")]
        assert types == [["PeopleV1", faces] for faces in asked]


def test_what_a_login_would_spare_is_told_where_it_is_much(tmp_path):
    with laboratory(tmp_path, (3, 1, 0), lambda lab: bulk(lab, 120)) as lab:
        assert "faces of 120 photos, one request each; a login" in lab.stage("--dry-run").err
        lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": lab.user.password, "IMMICH_API_KEY": ""}
        assert "IMMICH_EMAIL" not in lab.stage("--dry-run").err


def test_a_second_run_asks_only_for_what_is_new_and_sees_faces_found_since(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: (lab.add(5), lab.add(2, faces=0))) as lab:
        lab.stage()
        lab.server.log.clear()
        found = next(asset for asset in lab.server.library.assets.values() if not asset.faces)
        lab.server.library.add_face(found, lab.server.face((0, 0, 95, 95), 100, 100))
        new = lab.one(name="new.jpg")
        run = lab.stage()
        assert {request.path.split("/")[3] for request in lab.server.log.find("*/original")} == {found.id, new.id}
        assert run.summary["staged_count"] == 7


@pytest.mark.parametrize("version", [(2, 7, 2), (3, 1, 0), (3, 2, 0)])
@pytest.mark.parametrize("login", [True, False])
def test_names_and_people_given_since_the_first_run_reach_the_queue(version, login, tmp_path):
    with laboratory(tmp_path, version, lambda lab: lab.add(4)) as lab:
        if login:
            lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": lab.user.password, "IMMICH_API_KEY": ""}
        library = lab.server.library
        anna, bert = (lab.server.add_person(lab.user, name) for name in ("", "Bert"))
        first, second, third, _ = library.assets.values()
        first.faces[0].person = second.faces[0].person = anna
        assert lab.stage().summary["staged_count"] == 4
        anna.name = "Anna"                              # a name is given
        second.faces[0].person = bert                   # a face moves to somebody else
        library.add_face(third, lab.server.face((0, 0, 50, 50), 100, 100, bert))    # a new face
        for _ in range(2):
            lab.server.log.clear()
            assert lab.stage().summary["staged_count"] == 4
            names = {entry["asset_id"]: sorted(face["person_name"] for face in entry["faces"])
                     for entry in lab.entries()}
            assert [names[one.id] for one in library.assets.values()] == [["Anna"], ["Bert"], ["", "Bert"], [""]]
            assert not lab.server.log.find("*/original")
        assert not lab.server.log.find("/api/faces")    # what did not change is not asked for again


def test_assets_that_come_and_go_during_the_run_are_counted_as_the_server_does_in_the_end(tmp_path):
    def fill(lab: Lab) -> None:
        bulk(lab, 2500)
    with laboratory(tmp_path, fill=fill) as lab:
        library, searches = lab.server.library, lab.server.route

        def meddling(call):
            reply = searches(call)
            number = len(lab.server.log.find("/api/search/metadata"))
            if call.path == "/api/search/metadata" and number in (1, 2):
                assets = list(library.assets.values())
                for asset in assets[number * 10:number * 10 + 5] + assets[-8:-4]:
                    lab.server.delete_asset(asset)
                bulk(lab, 7, taken=1_400_000_000_000 + number, name=f"late {number}")
            return reply
        lab.server.route = meddling     # the server changes between two pages, as servers do
        run = lab.stage("--dry-run")
        assert run.summary["gate_held"], run.err
        assert seen(lab) == set(library.assets)


@pytest.mark.parametrize("version", [(2, 7, 2), (3, 1, 0)])
@pytest.mark.parametrize("permissions", [(*NEEDED, "face.read", "asset.statistics"), (*NEEDED, "face.read")])
def test_many_assets_without_an_exif_row_are_fetched_by_their_month(permissions, version, tmp_path):
    """`withExif` and /timeline/bucket hide them, /timeline/buckets and /assets/statistics count them."""
    def fill(lab: Lab) -> None:
        lab.key = lab.server.add_key(lab.user, permissions)
        bulk(lab, 30, taken="2021-12-31T23:30:00", local="2022-01-01T00:30:00", exif=None)
        bulk(lab, 30, taken="2022-01-15T00:00:00", exif=None, visibility="archive")
        bulk(lab, 50)
        bulk(lab, 3, taken="2022-01-15T00:00:00", type="VIDEO")
    with laboratory(tmp_path, version, fill) as lab:
        for asset in lab.server.library.assets.values():
            asset.thumbnails = False        # so that 3.x asks for no faces
        run = lab.stage("--dry-run")
        assert run.summary["gate_held"] and run.summary["gate_fetched"] == 60
        assert seen(lab) == {one.id for one in lab.server.library.assets.values() if one.type == "IMAGE"}
        assert run.summary["requests_before_downloads"] <= 1 + 24


def test_months_in_number_whose_assets_have_no_exif_rows_are_listed_at_once(tmp_path):
    def fill(lab: Lab) -> None:
        for month in range(40):
            bulk(lab, 2, taken=f"{2000 + month // 12}-{month % 12 + 1:02}-15T00:00:00", exif=None)
    with laboratory(tmp_path, fill=fill) as lab:
        run = lab.stage("--dry-run")
        assert run.summary["gate_held"] and run.summary["gate_fetched"] == 80
        assert run.summary["requests_before_downloads"] <= 1 + 20


def test_the_gate_has_not_held_while_the_server_counts_what_it_does_not_show(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(3)) as lab:
        lost = next(iter(lab.server.library.assets.values()))
        lost.exif = None
        index, sorted_ = lab.server.index, lab.server.index.sorted
        index.page = lambda scope, window, keep=None: (
            [asset for asset in sorted_(scope) if asset is not lost and (keep is None or keep(asset))], False)
        run = lab.stage()
        assert run.status == 2 and run.summary["gate_held"] is False and run.summary["gate_missing"] == []
        assert "Extract Metadata" in run.err and "--user peter" in run.err      # what to do, and what to type
        month = "timeline 2021-02: the server counts 1 images, here are 0"
        assert run.summary["gate_differ"] == [month] and month in run.err


def test_what_the_gate_cannot_fetch_is_named(tmp_path):
    """The timeline counts an asset that no search shows."""
    with laboratory(tmp_path, fill=lambda lab: lab.add(3)) as lab:
        lost = next(iter(lab.server.library.assets.values()))
        route = lab.server.route

        def hiding(call):
            reply = route(call)
            if call.path == "/api/search/metadata" and lost.id.encode() in reply.body:
                lost.trashed = 1
                try:
                    return route(call)
                finally:
                    lost.trashed = 0
            return reply
        lab.server.route = hiding
        lab.server.index._lists.clear()
        lab.server.index.sorted = lambda scope: [asset for asset in lab.server.library.assets.values()
                                                 if not asset.trashed and asset.visibility in scope.visibilities]
        run = lab.stage()
        assert run.status == 2
        assert run.summary["gate_held"] is False and run.summary["gate_missing"] == [lost.id]
        assert f"{lab.server.url}/photos/{lost.id}" in run.err


def test_what_a_run_took_is_kept_for_the_report_and_what_it_left_is_said_last(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(6)) as lab:
        bad = next(iter(lab.server.library.assets))
        lab.server.faults.add("status", f"*/{bad}/original", status=500)
        run = lab.stage()
        assert run.status == 0 and "could not be read: 1; left for the next run" in run.err.splitlines()[-2]
        kept = lab.user_dir / "summary.json"
        assert kept.stat().st_mode & 0o777 == 0o600 and lab.key.encode() not in kept.read_bytes()
        assert json.loads(kept.read_bytes()) == {"schema": 1, **run.summary, "complete": True, "dry_run": False}
        user, = runs.users(lab.root)
        assert user.problems == [] and f"{run.summary['requests']} requests" in user.stages[0].notes[0]
        assert user.stages[0].notes[1] == "the server counts what it listed"
        kept.write_text('{"schema": 1, "requests": "many"}')
        user, = runs.users(lab.root)
        assert "is not the summary of a stage run" in user.problems[0] and user.stages[0].notes == []


@pytest.mark.parametrize(("glob", "path", "matches"), [
    ("**/thumbs/**", "/data/thumbs/a/b.jpg", True), ("**/thumbs/**", "thumbs/b.jpg", True),
    ("**/thumbs/**", "/data/mythumbs/b.jpg", False), ("**/@eaDir/**", "/v/@eaDir/x", True),
    ("**/*.gif", "/a/b/c.gif", True), ("/a/*/c.jpg", "/a/b/x/c.jpg", False),
    ("**/.thumbnails/**", "/x.thumbnails/a", False),
    ("*.png", "/data/library/a/b.png", True), ("*.png", "b.png", True), ("*.png", "/a/b.png.jpg", False),
    ("/mnt/x", "/mnt/x/a/b.jpg", True), ("/mnt/x/", "/mnt/x/a/b.jpg", True), ("/mnt/x/", "/mnt/x", False),
    ("/mnt/x", "/mnt/xy/b.jpg", False), ("/mnt/x", "/data/mnt/x/b.jpg", False), ("mnt/x", "/data/mnt/x/b.jpg", False),
    ("raw", "/data/raw/b.jpg", True), ("raw/", "/data/raw/b.jpg", True), ("raw/", "/data/raw", False),
    ("IMG_[0-9]?.jpg", "/a/IMG_12.jpg", True), ("IMG_[!0-9]*", "/a/IMG_12.jpg", False),
    ("/a/\\[b]?.jpg", "/a/[b]c.jpg", True), ("a.jpg", "/aXjpg", False)])
def test_globs_mean_what_gitignore_means(glob, path, matches):
    assert bool(excluding([glob])(path)) is matches
    assert bool(excluding(["never", glob])(path)) is matches and not excluding([])(path)


@given(st.text(st.sampled_from("ab/*?.\\"), min_size=1, max_size=8),
       st.lists(st.text(st.sampled_from("ab.*"), min_size=1, max_size=3), min_size=1, max_size=4))
def test_globs_mean_what_git_means_by_them(glob, names):
    spec = pytest.importorskip("pathspec")
    assume(glob.strip("/") and "//" not in glob and not glob.endswith("\\"))
    path = "/" + "/".join(names)
    try:
        theirs = spec.GitIgnoreSpec.from_lines([glob])
    except ValueError:
        assume(False)
    assert bool(excluding([glob])(path)) == theirs.match_file(path)


@pytest.mark.parametrize("glob", ["!*.jpg", "[z-a]"])
def test_a_glob_that_means_nothing_is_refused(glob, tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(1)) as lab:
        run = lab.stage("--exclude", glob)
        assert run.status == 78 and "--exclude" in run.err and glob in run.err


def test_what_gitignore_would_ignore_is_excluded(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: (lab.add(3), lab.one(path="/mnt/x/raw/1.jpg"), lab.one(path="/a/2.png"))
                    ) as lab:
        run = lab.stage("--exclude", "*.png,/mnt/x/")
        assert run.summary["staged_count"] == 3 and run.summary["skipped_excluded"] == 2


def test_a_file_that_is_missing_on_the_server_is_asked_for_once_a_run_in_the_end(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(4)) as lab:
        gone = next(iter(lab.server.library.assets))
        lab.server.faults.add("status", f"*/{gone}/original", status=404)
        asked = []
        for _ in range(4):
            lab.server.log.clear()
            run = lab.stage()
            assert run.status == 0 and run.summary["skipped_download_error"] == 1
            asked.append(len(lab.server.log.find(f"*/{gone}/original")))
        assert asked == [4, 4, 1, 1]
        lab.server.faults.clear()
        assert lab.stage().summary["staged_count"] == 4


def test_a_dry_run_gives_nothing_that_was_refused_another_chance(tmp_path):
    def fill(lab: Lab) -> None:
        lab.one(name="hopeless.jpg", content=b"no picture at all" * 50, width=400, height=400, side=400)
    with laboratory(tmp_path, fill=fill) as lab:
        bad = next(iter(lab.server.library.assets))
        lab.server.faults.add("status", f"*/{bad}/thumbnail", status=400)
        lab.stage()
        assert lab.stage("--dry-run", "--retry-rejected").summary["skipped_download_error"] == 1
        lab.server.log.clear()
        lab.stage()
        assert lab.asked()["original"] == 0
        lab.stage("--retry-rejected")
        assert lab.asked()["original"] == 1


def test_the_bar_of_the_listing_counts_every_asset_once(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: bulk(lab, 2500)) as lab:
        for number, asset in enumerate(lab.server.library.assets.values()):
            asset.taken = asset.local = 1_400_000_000_000 + number // 90 * 86_400_000
        assert lab.stage("--dry-run").status == 0
        assert "listing: 2,500 assets" in (lab.user_dir / "stage.log").read_text()
