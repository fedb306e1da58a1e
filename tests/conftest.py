"""Fixtures for all tests."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

# how long an example takes says more about the machine than about the code
settings.register_profile("ruleaudit", deadline=None)
settings.load_profile("ruleaudit")

_NUMBERS = count()

pytest.register_assert_rewrite("tests.kernel.haproxy", "tests.kernel.services")


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test knows what another one has found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / f"cache-{next(_NUMBERS)}"))


@pytest.fixture(scope="session")
def kernel() -> None:
    """Skip where the kernel can't be asked: not root, no namespaces, or a program is missing."""
    from tests.kernel.lab import missing

    reason = missing()
    if reason is not None:
        pytest.skip(f"kernel tests: {reason}")


@pytest.fixture
def full_table() -> Iterator[None]:
    """One full table at a time: within a minute after a full table has dropped a packet, the kernel takes closed and
    unassured entries out of every table that is more than 95 % full, whatever namespace it is of (gc_worker in
    net/netfilter/nf_conntrack_core.c; seen: 257 at once).
    """
    with (Path(tempfile.gettempdir()) / "ruleaudit-full-table.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What somebody who takes this repository has: a copy of what is in the folder now, committed or not."""
    folder = tmp_path_factory.mktemp("checkout") / "ruleaudit"
    left = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "tests")
    shutil.copytree(Path(__file__).parent.parent, folder, ignore=left)
    return folder
