"""An image of the scan becomes one of the study: only a file that this user named, and as it was scanned."""

from __future__ import annotations

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from innersight.errors import InnersightError
from innersight.scan import scan
from innersight.sources import load
from innersight.storage.permit import Permit
from innersight.storage.store import Store
from innersight.toons import write
from innersight.web.scanned import scanned_image


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INNERSIGHT_STATE", str(tmp_path / "state"))
    write(tmp_path / "images", per_class=1)
    (tmp_path / "images" / "zebra").mkdir()
    (tmp_path / "images" / "zebra" / "broken.png").write_bytes(b"no image")
    scan(load("toon"), tmp_path / "images", ["stem"], out=tmp_path / "study")
    return tmp_path / "study"


def permit(study: Path, *images: str) -> Permit:
    return Permit(Store.open(study).inside, images=images)


def test_the_file_is_kept_with_its_class(study: Path) -> None:
    found = scanned_image(permit(study), 3)
    assert (found.label, found.scanned) == ("dulci", 3)
    (file,) = (study.parent / "images" / "dulci").iterdir()
    assert (study / "images" / found.file).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("number", [10, 11, 2**40])
def test_numbers_that_the_scan_does_not_have(number: int, study: Path) -> None:
    with pytest.raises(InnersightError, match=f"no image {number}"):
        scanned_image(permit(study), number)


def test_an_image_that_changed_is_not_taken_for_it(study: Path) -> None:
    (file,) = (study.parent / "images" / "dulci").iterdir()
    file.write_bytes(next((study.parent / "images" / "bosk").iterdir()).read_bytes())
    with pytest.raises(InnersightError, match="changed since it was scanned"):
        scanned_image(permit(study), 3)


def test_a_study_of_a_stranger_reads_no_file_of_this_user(study: Path) -> None:
    secret = study.parent / "secret.png"
    secret.write_bytes(next((study.parent / "images" / "bosk").iterdir()).read_bytes())
    with closing(sqlite3.connect(study / "index.sqlite")) as db, db:
        db.execute("UPDATE scan_images SET name = ?, digest = '' WHERE number = 3", (str(secret),))
    with pytest.raises(InnersightError, match="read only where you name it"):
        scanned_image(permit(study), 3)
    # Whoever names the folder gets the image of that name in it.
    assert scanned_image(permit(study, str(study.parent)), 3).scanned == 3


def test_members_of_archives_are_not_files(study: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / "images" / "bosk", "bosk")
    scan(load("toon"), tmp_path / "shard.tar", ["stem"], out=tmp_path / "other")
    with pytest.raises(InnersightError, match="not a file of its own"):
        scanned_image(permit(tmp_path / "other"), 0)


def test_a_study_without_a_scan(study: Path) -> None:
    with closing(sqlite3.connect(study / "index.sqlite")) as db, db:
        db.execute("DROP TABLE scan_images")
    with pytest.raises(InnersightError, match="no image 0"):
        scanned_image(permit(study), 0)
