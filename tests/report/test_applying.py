"""The printed commands are typed into a shell, in namespaces of their own: the old rules do come back by themselves."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ruleaudit.report import applying
from ruleaudit.report.style import PLAIN
from tests.report import made

ROOT = Path(__file__).parent.parent.parent
#: nothing of the host is seen: not its network, not /var/lib
_NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-eu", "-c"]
_PREPARE = "mount -t tmpfs none /var/lib; cd {folder}; PATH={folder}/bin:$PATH; "


def printed() -> list[str]:
    """The commands as printed; seconds made short."""
    _, *lines = applying.apply(made.REWRITE, "", PLAIN)
    return [line.split("  # ")[0].strip().replace("try 60", "try 2") for line in lines]


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("variant", ["nft", "legacy"])
@pytest.mark.parametrize("confirmed", [False, True], ids=["nobody-confirms", "confirmed"])
def test_the_old_rules_come_back_unless_somebody_confirms(tmp_path: Path, variant: str, confirmed: bool) -> None:
    multi = shutil.which(f"xtables-{variant}-multi")
    assert multi is not None
    (tmp_path / "bin").mkdir()
    for name in ("iptables", "iptables-save", "iptables-restore"):
        (tmp_path / "bin" / name).symlink_to(multi)
    program = tmp_path / "bin" / "ruleaudit"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT / "src"} exec {sys.executable} -m ruleaudit "$@"\n')
    program.chmod(0o755)
    (tmp_path / "rules.v4").write_text(made.TEXT)
    write, load, confirm, back = printed()
    script = "\n".join(
        [
            _PREPARE.format(folder=tmp_path),
            "iptables-restore < rules.v4",
            "iptables-save | grep '^-A' > old",
            write,
            load,
            confirm if confirmed else ":",
            "iptables-save | grep '^-A' > loaded",
            "sleep 4",
            "iptables-save | grep '^-A' > later",
            back,
            "iptables-save | grep '^-A' > last",
        ]
    )
    environment = {**os.environ, "XTABLES_LOCKFILE": str(tmp_path / "lock")}
    done = subprocess.run(
        [*_NAMESPACES, script], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    old, loaded, later, last = ((tmp_path / name).read_text() for name in ("old", "loaded", "later", "last"))
    assert old.count("\n") == 7
    assert loaded.count("--notrack") == 2
    assert later == (loaded if confirmed else old)
    assert last == old
