"""The printed commands are typed into a shell, in namespaces of their own: the old rules do come back by themselves."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ruleaudit.report import applying
from ruleaudit.report.style import PLAIN
from tests.report import made

#: nothing of the host is seen: not its network, not /var/lib, not /run
_NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-eu", "-c"]
_PREPARE = "mount -t tmpfs none /var/lib; mount -t tmpfs none /run; cd {folder}; PATH={folder}/bin:$PATH; "


def printed(confirm: bool) -> list[str]:
    """The commands as printed, the first (which runs ruleaudit) and the later way back left out; seconds made short."""
    lines = [line.strip() for line in applying.apply(made.REWRITE, "", PLAIN)]
    assert lines[1] == "ruleaudit suggest rules.v4 -o rules.v4.new"
    commands = [line for line in lines[2:] if not line.startswith("Going back")]
    assert commands.pop().startswith("iptables-restore < /var/lib/iptables.before ")
    touch = commands.pop()
    assert touch.startswith("touch /run/iptables.keep ")
    return [c.replace("sleep 60;", "sleep 2;") for c in [*commands, *([touch] if confirm else [])]]


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("variant", ["nft", "legacy"])
@pytest.mark.parametrize("confirm", [False, True], ids=["nobody-says-keep", "keep"])
def test_the_old_rules_come_back_unless_somebody_says_keep(tmp_path: Path, variant: str, confirm: bool) -> None:
    multi = shutil.which(f"xtables-{variant}-multi")
    assert multi is not None
    (tmp_path / "bin").mkdir()
    for name in ("iptables", "iptables-save", "iptables-restore"):
        (tmp_path / "bin" / name).symlink_to(multi)
    (tmp_path / "rules.v4").write_text(made.TEXT)
    (tmp_path / "rules.v4.new").write_text(made.REWRITTEN)
    script = "\n".join(
        [
            _PREPARE.format(folder=tmp_path),
            "iptables-restore < rules.v4",
            "iptables-save | grep -v '^#' | grep '^-A' > old",
            *printed(confirm),
            "iptables-save | grep '^-A' > loaded",
            "sleep 4",
            "iptables-save | grep '^-A' > later",
        ]
    )
    environment = {**os.environ, "XTABLES_LOCKFILE": str(tmp_path / "lock")}
    done = subprocess.run(
        [*_NAMESPACES, script], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    old, loaded, later = ((tmp_path / name).read_text() for name in ("old", "loaded", "later"))
    assert old.count("\n") == 7
    assert loaded.count("--notrack") == 2
    assert later == (loaded if confirm else old)
