"""The process that asks the kernel: it loads one ruleset in namespaces of its own, and sends packets through it.

It is started by `observation.py`, reads a job from standard input and writes the answer to standard output, both one
JSON object. Everything that it makes is gone when it ends; it ends when its parent does.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

from ruleaudit.kernel import netlink
from ruleaudit.kernel.counters import Counted, counted, counters
from ruleaudit.kernel.host import TABLE, Host, Probe, Seen, pin
from ruleaudit.kernel.namespace import leave
from ruleaudit.kernel.trace import FAMILIES

_PR_SET_PDEATHSIG = 1

Json = dict[str, Any]


def main() -> None:
    """Do the job."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    job = json.load(sys.stdin)
    pin()
    json.dump(_answer(job), sys.stdout)


def _answer(job: Json) -> Json:
    """What came of a job.

    impossible  namespaces, or something in them, cannot be had here
    refused     what the loader said of the ruleset
    """
    try:
        leave()
        made = Host(job["interfaces"], job["lock"])
    except OSError as error:
        return {"impossible": f"no network namespace can be made here: {error.strerror}"}
    try:
        with made as host:
            return _in(host, job)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return {"impossible": said.split("\n")[0]}


def _in(host: Host, job: Json) -> Json:
    if job["sets"]:
        host.run("ipset", "restore", text=job["sets"])
    refused = _refusal(host, job["loader"], job["text"])
    if refused:
        return {"refused": refused}
    packets = [
        Probe(**{**one, "raw": bytes.fromhex(one["raw"])}) for batch in job["batches"] for one in batch["probes"]
    ]
    host.watch({p.number: p.mark for p in packets}, job["ingress"])
    # UDP-Lite has no checksum that this kernel takes for right; the setting is there once somebody tracks
    with contextlib.suppress(OSError):
        host.space.sysctl("net.netfilter.nf_conntrack_checksum", 0)
    with host.space.inside():
        rules = [(FAMILIES.get(f, "?"), t, c, h) for f, t, c, h in netlink.rules() if t != TABLE]
    before = _counters(host, job)
    rules += [(job["family"], *place) for place in before if place[2] > 0]
    seen: dict[int, Json] = {}
    deadline = time.monotonic() + job["seconds"]
    for batch in job["batches"]:
        host.route(batch["local"], batch["out"])
        for one in batch["probes"]:
            if time.monotonic() > deadline:
                seen[one["number"]] = _as_json(Seen((), False, "there was no time to send it"))
                continue
            host.forget()
            told = _as_json(host.send(Probe(**{**one, "raw": bytes.fromhex(one["raw"])})))
            if job["saver"]:
                after = _counters(host, job)
                told["counted"], before = counted(before, after), after
            seen[one["number"]] = told
    return {"rules": rules, "seen": seen}


def _counters(host: Host, job: Json) -> dict[Counted, int]:
    """What the rules have counted, where they cannot be traced. (Without -t only root would be told.)"""
    return counters(host.run(job["saver"], "-c", "-t", table) for table in job["tables"]) if job["saver"] else {}


def _refusal(host: Host, loader: list[str], text: str) -> str:
    """What a loader says when it, or the kernel, does not take a ruleset."""
    with host.space.inside():
        done = subprocess.run(
            loader,
            input=text.encode("utf-8", "surrogateescape"),
            capture_output=True,
            env={**os.environ, **host.environment},
            timeout=60,
            check=False,
        )
    said = done.stderr.decode("utf-8", "replace").strip()
    return said or f"exit status {done.returncode}" if done.returncode else ""


def _as_json(seen: Seen) -> Json:
    passed = [(p.family, p.table, p.chain, p.decider, p.handle, p.verdict) for p in seen.passages]
    return {"passages": passed, "arrived": seen.arrived, "lost": seen.lost}


if __name__ == "__main__":
    main()
