"""A connection table of any length, as the host of a proxy has it.

python -m benchmarks.connection_table 1000000 [--accounting] > table.txt
"""

import random
import sys
from collections.abc import Iterator

#: (part of the table, state): what a busy web proxy holds
_STATES = ((0.86, "TIME_WAIT"), (0.08, "ESTABLISHED"), (0.03, "FIN_WAIT"), (0.02, "SYN_RECV"), (0.01, "CLOSE_WAIT"))


def lines(number: int, seed: int = 1, accounting: bool = False) -> Iterator[str]:
    """Entries as /proc/net/nf_conntrack has them: half of clients, half of backends, some of DNS, ping and ssh."""
    chance = random.Random(seed)
    states = [state for _, state in _STATES]
    weights = [weight for weight, _ in _STATES]
    counted = " packets=6 bytes=512" if accounting else ""
    for _ in range(number):
        port, kind = chance.randint(1024, 65535), chance.random()
        state = chance.choices(states, weights)[0]
        far = f"{chance.randint(128, 223)}.{chance.randint(0, 255)}.{chance.randint(0, 255)}.{chance.randint(1, 254)}"
        if kind < 0.97:
            source, target, to = far, "203.0.113.10", chance.choice((443, 443, 443, 80))
            if kind > 0.49:
                source, target, to = "10.0.0.5", f"10.0.1.{chance.randint(1, 12)}", 8080
            left = 432000 if state == "ESTABLISHED" else 60
            yield (
                f"ipv4     2 tcp      6 {left} {state} src={source} dst={target} sport={port} dport={to}{counted}"
                f" src={target} dst={source} sport={to} dport={port}{counted} [ASSURED] mark=0 zone=0 use=2"
            )
        elif kind < 0.99:
            yield (
                f"ipv4     2 udp      17 20 src=10.0.0.5 dst=10.0.0.53 sport={port} dport=53{counted}"
                f" src=10.0.0.53 dst=10.0.0.5 sport=53 dport={port}{counted} mark=0 zone=0 use=2"
            )
        else:
            yield (
                f"ipv4     2 icmp     1 20 src={far} dst=203.0.113.10 type=8 code=0 id={port}{counted}"
                f" src=203.0.113.10 dst={far} type=0 code=0 id={port}{counted} mark=0 zone=0 use=2"
            )


if __name__ == "__main__":
    for line in lines(int(sys.argv[1]), accounting="--accounting" in sys.argv):
        print(line)
