"""What the sample library holds: every item of it, in one list, the same each time.

Five people. Barack is known beforehand (a hand-sorted folder), the others are to be found. Immich knows Barack,
Emmanuel, Eileen and a part of Jacinda by name, has Rishi without a name, and has split Jacinda in three: photos of 2018
under her name, those of 2022 as a person of their own whom somebody hid, and a few faces that it assigned to nobody.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

CAMERAS = (("Canon", "Canon EOS 80D"), ("Apple", "iPhone 12"), ("NIKON CORPORATION", "NIKON D750"),
           ("samsung", "SM-G973F"))
TURNS = (1, 1, 1, 6, 1, 1, 8, 1, 3, 1, 1, 6)


@dataclass(frozen=True)
class Shot:
    """One item. `taken` is EXIF's "2012:04:05 10:11:12"; `people` are names of photos.portraits, left to right."""

    name: str
    taken: str
    people: tuple[str, ...] = ()
    scene: str = ""                 # of photos.scenes, when nobody is in the picture, or behind somebody small
    seed: int = 0
    enlarge: float = 1.0
    faded: float = 0.0              # how much of its colour, sharpness and contrast is gone
    orientation: int = 1
    quality: int = 85
    owner: str = "demo"
    path: str = ""                  # on the server, of an external library; "" is an upload
    copy_of: str = ""               # byte for byte
    damage: str = ""                # "truncated" or "empty"
    video: bool = False
    unassigned: bool = False        # Immich gave its faces to nobody
    asset: dict[str, object] = field(default_factory=dict)      # further fields of library_model.Asset

    @property
    def camera(self) -> tuple[str, str]:
        return CAMERAS[self.seed % len(CAMERAS)]


@dataclass(frozen=True)
class Series:
    """One person's photos, spread over some years."""

    person: str
    count: int
    year: int
    years: int
    enlarge: float = 1.0


SERIES = (Series("barack", 11, 2009, 6), Series("rishi", 13, 2019, 5), Series("emmanuel_2014", 3, 2014, 1, 2.6),
          Series("emmanuel_2025", 11, 2023, 3), Series("jacinda_2018", 9, 2017, 3), Series("jacinda_2022", 9, 2021, 3),
          Series("eileen", 12, 2010, 9))
TOGETHER = (("barack", "eileen"), ("rishi", "emmanuel_2025"), ("jacinda_2018", "rishi"), ("eileen", "jacinda_2022"),
            ("barack", "emmanuel_2025"), ("rishi", "eileen", "barack"), ("jacinda_2022", "emmanuel_2025"),
            ("emmanuel_2025", "jacinda_2018", "barack"))
FAR_AWAY = (("barack", "temple"), ("rishi", "coffee"), ("eileen", "temple"), ("jacinda_2018", "flower"))
SCENERY = ("coffee", "cat", "rocket", "hubble", "temple", "flower")


def plan() -> list[Shot]:
    """Every item, in the order in which it came to the server; names are unique."""
    shots = [*_portraits(), *_groups(), *_without_faces()]
    named = {shot.name: shot for shot in shots}
    return [*shots, *_copies(named), *_special()]


def by_hand() -> list[Shot]:
    """Hand-sorted folders of one who is known beforehand: photos, two with somebody else in them; and old scans."""
    alone = [Shot(f"known/Barack/barack_{number}.jpg", f"2008:0{number + 1}:11 12:00:00", ("barack",),
                  seed=900 + number) for number in range(8)]
    scans = [Shot(f"known/Old scans/scan_{number}.jpg", f"2004:07:{number + 20} 12:00:00", ("barack",),
                  seed=950 + number, faded=1) for number in range(6)]
    return [*alone, replace(alone[0], name="known/Barack/with_eileen.jpg", people=("barack", "eileen"), seed=930),
            replace(alone[1], name="known/Barack/with_rishi.jpg", people=("rishi", "barack"), seed=940), *scans]


def _portraits() -> Iterator[Shot]:
    number = 0
    for series in SERIES:
        for place in range(series.count):
            number += 1
            name = f"IMG_{number:04}.JPG" if number % 3 else f"DSC{number:05}.jpg"
            if series.person == "rishi" and place in (4, 9):
                name = f"IMG_{number:04}.HEIC"
            if series.person == "eileen" and place == 3:
                name = "Größe & Würde #1 (Kopie).png"
            turn = TURNS[number % len(TURNS)] if name.lower().endswith(".jpg") else 1
            extra: dict[str, object] = {}
            if place == 5 and series.person in ("rishi", "jacinda_2022"):
                extra["visibility"] = "archive"
            if place == 2:
                extra["favorite"] = True
            yield Shot(name, _moment(series, place), (series.person,), seed=number, enlarge=series.enlarge,
                       orientation=turn, quality=60 + number * 7 % 35, asset=extra,
                       unassigned=series.person == "jacinda_2018" and place in (1, 4, 7))


def _moment(series: Series, place: int) -> str:
    """Spread over the years; every fourth photo is of the same second as the one before."""
    step = place - (place % 4 == 3)
    year, month = divmod(step * series.years * 12 // series.count, 12)
    return f"{series.year + year}:{month + 1:02}:{3 + step * 2 % 25:02} {9 + step % 10:02}:{step * 7 % 60:02}:05"


def _groups() -> Iterator[Shot]:
    for number, people in enumerate(TOGETHER):
        # two of them are large, so that Immich's preview is smaller than the photo
        yield Shot(f"group_{number + 1}.jpg", f"20{16 + number}:07:1{number} 18:30:00", people, seed=200 + number * 10,
                   enlarge=3.0 if number in (1, 5) else 1.0, orientation=TURNS[number + 3])
    for number, (person, scene) in enumerate(FAR_AWAY):
        yield Shot(f"PANO_{number + 1}.jpg", f"2018:05:0{number + 1} 11:11:11", (person,), scene, seed=300 + number)


def _without_faces() -> Iterator[Shot]:
    for number, scene in enumerate(SCENERY):
        path = f"/mnt/nas/holiday/{scene}.jpg" if number % 2 else ""
        yield Shot(f"{scene}.jpg", f"2015:08:1{number} 15:00:00", scene=scene, seed=400 + number, path=path)


def _copies(named: dict[str, Shot]) -> Iterator[Shot]:
    """Byte for byte, under other names in an external library, where Immich's checksum says nothing about the bytes."""
    for number, name in enumerate(("IMG_0001.JPG", "IMG_0013.JPG", "IMG_0025.JPG", "group_3.jpg", "coffee.jpg")):
        path = f"/mnt/nas/backup {number + 1}/Copy of {name}"
        yield replace(named[name], name=path.rpartition("/")[2], path=path, copy_of=name, asset={})
    yield replace(named["IMG_0014.JPG"], name="same again.jpg", path="/mnt/nas/phone/same again.jpg",
                  copy_of="IMG_0014.JPG", asset={})
    for number, name in enumerate(("IMG_0002.JPG", "IMG_0020.JPG", "IMG_0046.JPG", "group_6.jpg")):
        path = f"/mnt/nas/immich/thumbs/ab/cd/{number}_preview.jpeg"       # a thumbnail that was indexed as a photo
        yield replace(named[name], name=f"{number}_preview.jpeg", path=path, quality=50, orientation=1, asset={})


def _special() -> Iterator[Shot]:
    yield Shot("damaged.jpg", "2020:02:02 02:02:02", ("rishi",), seed=500, damage="truncated",
               path="/mnt/nas/old disk/damaged.jpg")       # after Immich had seen it whole
    yield Shot("old print.jpg", "2006:07:02 10:00:00", ("barack",), seed=545, faded=0.87)    # between him and his scans
    yield Shot("empty.jpg", "2020:02:02 02:02:03", damage="empty")
    yield Shot("clip.mp4", "2021:06:01 10:00:00", video=True, asset={"duration": 2000})
    yield Shot("deleted.jpg", "2019:01:01 10:00:00", ("eileen",), seed=510, asset={"trashed": 1_767_225_600_000})
    yield Shot("just uploaded.jpg", "2025:12:24 20:00:00", ("jacinda_2022",), seed=520, asset={"exif": None})
    yield Shot("from my partner 1.jpg", "2022:03:03 10:00:00", ("barack",), seed=530, owner="partner")
    yield Shot("from my partner 2.jpg", "2022:03:03 10:00:01", scene="flower", seed=531, owner="partner")
