"""A repository of rulesets: what `ruleaudit check` takes for thousands of files, and how much memory each process.

    python benchmarks/repository.py write FOLDER --files 3000    # a tree of hosts/<site>/<host>/...
    python benchmarks/repository.py run FOLDER --jobs 1,2,4      # seconds, and the memory of the largest process
    python benchmarks/repository.py run FOLDER --jobs 2 --format sarif

Each host has rules.v4 and rules.v6, every third one an nftables.conf with two included files instead. Made of
documentation addresses and private ones; the same arguments make the same files.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SERVICES = ((22, "tcp"), (25, "tcp"), (53, "udp"), (80, "tcp"), (443, "tcp"), (5432, "tcp"), (9100, "tcp"))


def save(luck: random.Random, six: bool) -> str:
    """An iptables-save file of ten to sixty rules."""
    net = (lambda: f"2001:db8:{luck.randrange(65536):x}::/48") if six else (lambda: f"10.{luck.randrange(256)}.0.0/16")
    icmp = "ipv6-icmp" if six else "icmp"
    lines = ["*filter", ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]", ":SERVICES - [0:0]"]
    lines += ["-A INPUT -i lo -j ACCEPT", f"-A INPUT -p {icmp} -j ACCEPT"]
    lines += ["-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"]
    lines += [f"-A INPUT -s {net()} -j DROP" for _ in range(luck.randrange(20))]
    lines += ["-A INPUT -j SERVICES"]
    for _ in range(luck.randrange(2, 30)):
        port, protocol = luck.choice(SERVICES)
        source = f"-s {net()} " if luck.random() < 0.6 else ""
        state = "-m conntrack --ctstate NEW " if luck.random() < 0.3 else ""
        lines.append(f"-A SERVICES {source}-p {protocol} -m {protocol} --dport {port} {state}-j ACCEPT")
    return "\n".join([*lines, "COMMIT", ""])


def nft(luck: random.Random) -> dict[str, str]:
    """A ruleset in three files."""
    elements = ", ".join(f"10.{luck.randrange(256)}.{number}.0/24" for number in range(luck.randrange(1, 40)))
    services = "".join(
        f"\t\t{protocol} dport {port} accept\n" for port, protocol in luck.sample(SERVICES, luck.randrange(2, 6))
    )
    return {
        "nftables.conf": 'flush ruleset\ninclude "./defines.inc"\ntable inet filter {\n\tinclude "./input.inc"\n}\n',
        "defines.inc": f"define inside = {{ {elements} }}\n",
        "input.inc": (
            "\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t\tiif lo accept\n"
            "\t\tct state established,related accept\n\t\tmeta l4proto { icmp, ipv6-icmp } accept\n"
            f"\t\tip saddr $inside tcp dport 22 accept\n{services}\t}}\n"
        ),
    }


def write(folder: Path, files: int) -> int:
    """The tree; returns how many rulesets are in it."""
    luck, written, host = random.Random(1), 0, 0
    while written < files:
        here = folder / "hosts" / f"site{host // 50:03}" / f"host{host:05}"
        here.mkdir(parents=True, exist_ok=True)
        texts = nft(luck) if host % 3 == 2 else {"rules.v4": save(luck, False), "rules.v6": save(luck, True)}
        for name, text in texts.items():
            (here / name).write_text(text)
        written += 1 if "nftables.conf" in texts else 2
        host += 1
    (folder / "ruleaudit.toml").write_text('ignore = ["RA100"]\n')
    return written


def peaks(process: subprocess.Popen[bytes]) -> Iterator[int]:
    """The memory in kB of the largest process of a command that is its own alone, while it runs."""
    while process.poll() is None:
        family = [process.pid]
        for pid in family:
            try:
                family += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
                # what a fork shares with its parent is counted in parts
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        yield int(line.split()[1])
            except OSError:
                continue
        time.sleep(0.2)


def run(folder: Path, jobs: list[str], form: str) -> None:
    """One line for each number of processes."""
    print("| jobs | wall s | cpu s | peak of one process, MB | output, MB |\n|---:|---:|---:|---:|---:|")
    for number in jobs:
        command = [sys.executable, "-m", "ruleaudit", "check", "--jobs", number, "--format", form, "-q", str(folder)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with tempfile.TemporaryFile() as out:
            started = time.monotonic()
            process = subprocess.Popen(command, stdout=out, cwd=folder)
            peak = max(peaks(process), default=0)
            took = time.monotonic() - started
            size = os.fstat(out.fileno()).st_size
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"| {number} | {took:.1f} | {cpu:.1f} | {peak / 1024:.0f} | {size / 1e6:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--jobs", default="1,2")
    parser.add_argument("--format", default="concise")
    asked = parser.parse_args()
    if asked.what == "write":
        print(write(asked.folder, asked.files), "rulesets")
    else:
        run(asked.folder.resolve(), asked.jobs.split(","), asked.format)


if __name__ == "__main__":
    main()
