"""Fixtures for all tests."""

import pytest
from hypothesis import settings

# how long an example takes says more about the machine than about the code
settings.register_profile("ruleaudit", deadline=None)
settings.load_profile("ruleaudit")

pytest.register_assert_rewrite("tests.kernel.haproxy", "tests.kernel.services")


@pytest.fixture(scope="session")
def kernel() -> None:
    """Skip where the kernel can't be asked: not root, no namespaces, or a program is missing."""
    from tests.kernel.lab import missing

    reason = missing()
    if reason is not None:
        pytest.skip(f"kernel tests: {reason}")
