"""What is kept between runs: by its owner, whole or not at all."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruleaudit import kept

NAME = kept.name("something")


@pytest.fixture(autouse=True)
def _mask() -> Iterator[None]:
    """The mask of a machine where every user has a group of their own."""
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.fixture
def entry() -> Path:
    """The file of an entry that is kept."""
    kept.write(NAME, ["a value"])
    assert kept.read(NAME) == ["a value"]
    (path,) = kept.folder().glob("??/*")
    return path


@pytest.mark.parametrize("level", [0, 1, 2], ids=["file", "folder", "all"])
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_what_others_can_write_is_not_read(entry: Path, level: int, mode: int) -> None:
    (entry, *entry.parents)[level].chmod(mode)
    assert kept.read(NAME) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("level", [0, 1, 2], ids=["file", "folder", "all"])
def test_what_belongs_to_somebody_else_is_not_read(entry: Path, level: int) -> None:
    os.chown((entry, *entry.parents)[level], 65534, 65534)
    assert kept.read(NAME) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_nothing_is_written_to_the_folder_of_somebody_else(entry: Path) -> None:
    os.chown(kept.folder(), 65534, 65534)
    kept.write(kept.name("another thing"), 1)
    assert len(list(kept.folder().glob("??/*"))) == 1


@pytest.mark.parametrize("length", [0, 1, 10])
def test_half_an_entry_is_none(entry: Path, length: int) -> None:
    entry.write_bytes(entry.read_bytes()[:length])
    assert kept.read(NAME) is None
    kept.write(NAME, "anew")
    assert kept.read(NAME) == "anew"


def test_an_entry_that_cannot_be_finished_leaves_nothing(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", full)
        kept.write(NAME, "anew")
    assert list(kept.folder().glob("??/*")) == [entry]
    assert kept.read(NAME) == ["a value"]


def test_many_write_and_read_the_same_entry() -> None:
    program = (
        "from ruleaudit import kept\n"
        f"for _ in range(200):\n    kept.write({NAME!r}, 'x' * 100_000)\n"
        f"    assert kept.read({NAME!r}) == 'x' * 100_000"
    )
    several = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [one.wait() for one in several] == [0, 0, 0]
    assert len(list(kept.folder().glob("??/*"))) == 1


def test_a_folder_for_reading_only_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/self")
    kept.write(NAME, 1)
    kept.tidy()
    assert kept.read(NAME) is None
