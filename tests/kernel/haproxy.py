"""The HAProxy host of the whole way: its lab, and what holds before and after a rewrite."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from ruleaudit.model.service import Service
from tests.kernel.http import page
from tests.kernel.lab import BEHIND, BEHIND6, Lab

HOST = Path(__file__).parent.parent / "fixtures" / "haproxy-host"
LARGE = 200_000
FRONTENDS = {BEHIND: ((BEHIND, 80), (BEHIND, 443)), BEHIND6: ((BEHIND6, 80), (BEHIND6, 443))}

_BACKENDS = (ip_network("10.9.2.2/32"),)
#: what its configuration says
SERVICES = (
    Service("in", "tcp", ((80, 80), (443, 443)), origin="haproxy.cfg bind"),
    Service("out", "tcp", ((8080, 8080),), _BACKENDS, origin="haproxy.cfg server one"),
    Service("out", "tcp", ((8081, 8081),), _BACKENDS, origin="haproxy.cfg server two"),
)


@contextlib.contextmanager
def haproxy_host() -> Iterator[Lab]:
    """A client, a router with a link of MTU 1280 to it, the HAProxy host, and its two backends behind it."""
    if shutil.which("haproxy") is None:
        pytest.skip("kernel tests: not installed: haproxy")
    with Lab(router=True, narrow=1280) as made:
        made.link(("server", "s1", "10.9.2.1", "fd09:2::1"), ("backends", "b0", "10.9.2.2", "fd09:2::2"))
        large = made.file("large", "x" * LARGE)
        backends = (HOST / "backends.cfg").read_text().replace("LARGE", large)
        made.start("backends", "haproxy", "-db", "-f", made.file("backends.cfg", backends))
        made.start("server", "haproxy", "-db", "-f", str(HOST / "haproxy.cfg"))
        for six in (False, True):
            made.serve_tcp("server", 22, six=six)
            made.serve_tcp("server", 8081, six=six)
        deadline = time.monotonic() + 10
        while page(made, "client", BEHIND6, 443) != b"ok":
            assert time.monotonic() < deadline, "HAProxy does not answer"
            time.sleep(0.05)
        yield made


def frontend(lab: Lab, address: str) -> list[str]:
    """The entries of connections to the proxy."""
    return [line for port in (80, 443) for line in lab.entries("server", f"dst={address}", f"dport={port}")]


def proxy_entries(lab: Lab) -> list[str]:
    """The entries of the proxy's connections, on both of its sides."""
    return [line for port in (80, 443, 8080, 8081) for line in lab.entries("server", f"dport={port}")]


def same_as_ever(lab: Lab, address: str, refusal: str = "silence") -> None:
    """What holds before and after the rewrite; `refusal` is what a client sees of a closed port."""
    # ssh is for its network only, and tracked
    assert lab.tcp("router", address, 22) == "ok"
    assert lab.tcp("client", address, 22) == refusal
    assert len(lab.entries("server", f"dst={address}", "dport=22")) == 1
    # a service that no rule opens stays closed
    assert lab.tcp("client", address, 8081) == refusal
    # a health check from the host itself
    assert page(lab, "server", address, 80) == b"ok"
    assert page(lab, "server", "::1" if ":" in address else "127.0.0.1", 443) == b"ok"
    # what does not fit through the narrow hop arrives all the same
    whole = page(lab, "client", address, 80, "/large")
    assert whole is not None
    assert len(whole) == LARGE
