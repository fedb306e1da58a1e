"""Files as they are written: the old text or the new one, with the owner, the permissions and the links that were."""

import os
import stat
from pathlib import Path

import pytest

from ruleaudit.diagnostics import SourceError
from ruleaudit.source import write


def test_permissions_stay_and_a_link_goes_on_pointing(tmp_path: Path) -> None:
    real, link = tmp_path / "rules.v4", tmp_path / "link.v4"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to("rules.v4")
    write(str(link), "new")
    assert (link.is_symlink(), real.read_text(), stat.S_IMODE(real.stat().st_mode)) == (True, "new", 0o640)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.v4", "rules.v4"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "rules.v4"
    path.write_text("old")
    os.chown(path, 65534, 65533)
    write(str(path), "new")
    assert (path.read_text(), path.stat().st_uid, path.stat().st_gid) == ("new", 65534, 65533)


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    before = os.stat(os.devnull)
    write(os.devnull, "new")
    assert os.stat(os.devnull).st_ino == before.st_ino
    with pytest.raises(SourceError, match="cannot be written: is a directory"):
        write(str(tmp_path), "new")
