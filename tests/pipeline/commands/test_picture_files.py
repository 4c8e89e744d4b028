"""What `nst manifest` takes for a picture: not all that lies beside pictures, each folder once."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.image_files import formats
from pipeline import storage
from pipeline.__main__ import main
from pipeline.commands.picture_files import find_pictures
from pipeline.manifest.rows import read_rows
from pipeline.pairs.parsing import parse_pair
from tests import more_formats

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog

JUNK = ("Thumbs.db", ".DS_Store", "notes.txt", "deep/a.mp4", "__MACOSX/a.png", "catalog.csv")
WRITTEN = ("images/a.png", "thumbnails/b.webp", "snapshots/a/000001.png")


@pytest.fixture
def photos(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """Three pictures below `photos`, one without an extension, and what lies beside such."""
    for name in ("photos/a.png", "photos/deep/b.JPG", "photos/c.png", "s.png"):
        catalog.picture(name)
    path = pathlib.Path(catalog.root, "photos")
    (path / "c.png").rename(path / "c")
    for name in JUNK:
        catalog.write(f"photos/{name}", b"x")
    for name in WRITTEN:
        catalog.picture(f"photos/out/{name}")
    catalog.write("photos/out/runs/one/config.yaml", b"")
    monkeypatch.chdir(catalog.root)
    return catalog


def contents(catalog: Catalog, *named: str) -> list[str]:
    """The contents of the manifest that is made of these, relative to the catalog."""
    assert main(["manifest", "--contents", *named, "--styles", "s.png", "-o", "m.csv"]) == 0
    uri = catalog.uri("m.csv")
    return [parse_pair(row, uri).content[len(catalog.root) + 1 :] for row in read_rows(uri)]


def test_files_that_are_no_pictures_and_outputs_of_runs_are_left_out_and_counted(
    photos: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    assert contents(photos, "photos/**") == ["photos/a.png", "photos/c", "photos/deep/b.JPG"]
    said = capsys.readouterr().out
    assert "Left out: 6 files are no JPEG, PNG" in said
    assert "Left out: 3 files are written by a run, such as " in said


def test_pictures_of_every_format_are_taken_by_name_or_by_their_first_bytes(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.picture("s.png")
    for extension in formats.EXTENSIONS:
        catalog.write(f"named/a{extension.upper()}", b"x")
    files = more_formats.good_files()
    told = ("colour.avif", "colour.heic", "colour.jp2", "colour.psd", "colour.ppm", "colour.ico")
    # A program in C can begin as an XBM does.
    for name in (*told, "bilevel.xbm"):
        catalog.write(f"unnamed/{name.replace('.', '_')}", files[name])
    monkeypatch.chdir(catalog.root)
    assert len(contents(catalog, "named")) == len(formats.EXTENSIONS)
    taken = sorted(f"unnamed/{name.replace('.', '_')}" for name in told)
    assert sorted(contents(catalog, "unnamed")) == taken


@pytest.mark.parametrize("folder", ["photos", "photos/", "./photos"])
def test_a_folder_is_the_pictures_right_inside_it(photos: Catalog, folder: str) -> None:
    assert contents(photos, folder) == ["photos/a.png", "photos/c"]


def test_a_folder_tells_of_the_pictures_in_its_subfolders(
    photos: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    photos.picture("photos/deep/deeper/d.png")
    contents(photos, "photos")
    folder = photos.uri("photos")
    assert (
        f"Left out: 2 pictures are in subfolders of {folder}, such as {folder}/deep/b.JPG; "
        f"'{folder}/**' takes those too."
    ) in capsys.readouterr().out.splitlines()
    contents(photos, "photos/*")
    assert "subfolders" not in capsys.readouterr().out


def test_a_folder_of_subfolders_alone_is_refused_with_what_takes_their_pictures(
    photos: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    photos.picture("years/2024/a.png")
    assert main(["manifest", "--contents", "years", "--styles", "s.png", "-o", "m.csv"]) == 2
    said = capsys.readouterr().err
    assert "matches no picture to take: Left out: 1 picture is in subfolders" in said
    assert f"'{photos.uri('years')}/**'" in said


@pytest.mark.parametrize("named", ["photos/out/images/*", "photos/out/images"])
def test_the_pictures_of_a_run_are_taken_where_they_are_asked_for(
    photos: Catalog, named: str
) -> None:
    assert contents(photos, named) == ["photos/out/images/a.png"]


def test_without_a_picture_to_take_nothing_is_written(
    photos: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    before = photos.files()
    for named in ("photos/*.txt", "photos/out"):
        assert main(["manifest", "--contents", named, "--styles", "s.png", "-o", "m.csv"]) == 2
        assert "matches no" in capsys.readouterr().err
    assert photos.files() == before


def test_a_bucket_is_searched_by_the_same_rules(
    photos: Catalog, gcs: EmulatedBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("p/a.png", "p/Thumbs.db", "p/out/images/a.png", "p/out/runs/one/config.yaml"):
        storage.write_bytes(gcs.uri(name), b"x", "image/png")
    for named in ("p/**", "p"):
        given = ["--contents", gcs.uri(named), "--styles", "s.png", "-o", "m.csv"]
        assert main(["manifest", *given]) == 0
        rows = [parse_pair(row, photos.uri("m.csv")) for row in read_rows(photos.uri("m.csv"))]
        assert [pair.content for pair in rows] == [gcs.uri("p/a.png")]
    assert "1 file is written by a run" in capsys.readouterr().out


def test_a_file_that_may_not_be_read_and_one_without_a_name_in_utf8_hide_no_other(
    photos: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(photos, "photos")
    capsys.readouterr()
    photos.write("photos/secret.db", b"x")
    pathlib.Path(photos.root, "photos", "caf\udce9.png").write_bytes(b"x")
    read = storage.read_bytes

    def refusing(uri: str, **given: Any) -> bytes:
        if uri.endswith("secret.db"):
            raise storage.AccessDenied(f"{uri} may not be read by this user.")
        return read(uri, **given)

    monkeypatch.setattr(storage, "read_bytes", refusing)
    assert contents(photos, "photos") == before
    said = capsys.readouterr().out
    assert f"1 file is not readable by this user, such as {photos.uri('photos/secret.db')}." in said
    assert "1 file is not UTF-8 by name (rename it), such as " in said
    assert "photos/caf\\udce9.png." in said


def test_a_folder_that_may_not_be_listed_is_told_of_once(
    photos: Catalog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = contents(photos, "photos/**")
    photos.picture("photos/closed/x.png")
    closed, scandir = photos.uri("photos/closed"), os.scandir

    def refusing(folder: str) -> Any:
        if os.fspath(folder) == closed:
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    for _ in range(2):
        assert contents(photos, "photos/**") == before
    (told,) = caplog.messages
    assert told == (
        f"The folder {closed} may not be listed by this user; what is in it is left out."
    )


@pytest.mark.parametrize("named", ["photos", "photos/*.png", "photos/**"])
def test_a_link_to_itself_is_no_picture_and_hides_no_other(photos: Catalog, named: str) -> None:
    before = contents(photos, named)
    for name in ("itself.png", "itself"):
        pathlib.Path(photos.root, "photos", name).symlink_to(name)
    assert contents(photos, named) == before
    assert (
        main(["manifest", "--contents", "photos/itself", "--styles", "s.png", "-o", "m.csv"]) == 2
    )


def test_links_in_a_circle_or_to_one_folder_give_each_file_once(tmp_path: pathlib.Path) -> None:
    (tmp_path / "z" / "deep").mkdir(parents=True)
    for name in ("z/a.png", "z/deep/b.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "z" / "deep" / "up").symlink_to(tmp_path / "z")
    (tmp_path / "again").symlink_to(tmp_path / "z")
    found = [f"{tmp_path}/z/a.png", f"{tmp_path}/z/deep/b.png"]
    for pattern in ("**", "**/*.png", "**/**/*.png"):
        assert storage.glob_uris(f"{tmp_path}/{pattern}") == found
    # A link that is not below what was searched already is followed.
    assert storage.glob_uris(f"{tmp_path}/again/**/*.png") == [
        f"{tmp_path}/again/a.png",
        f"{tmp_path}/again/deep/b.png",
    ]


def test_no_terminal_obeys_the_name_of_a_file_that_is_left_out(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "b\x1b]0;mine\x07\n.txt").touch()
    _, (said,) = find_pictures([str(tmp_path)])
    assert r"b\u001b]0;mine\u0007\u000a.txt" in said
    assert said.isprintable()
