"""The options of a `server`, `server-template` or `default-server` line of haproxy.cfg that have to do with sockets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

#: words that take another one; the others of HAProxy take none
_VALUES = frozenset((
    "addr", "agent-addr", "agent-inter", "agent-port", "agent-send", "alpn", "ca-file", "check-alpn",
    "check-pool-conn-name", "check-proto", "check-sni", "ciphers", "ciphersuites", "client-sigalgs", "cookie",
    "crl-file", "crt", "curves", "downinter", "error-limit", "fall", "fastinter", "guid", "hash-key", "id",
    "idle-ping", "init-addr", "init-state", "inter", "log-bufsize", "log-proto", "max-reuse", "maxconn", "maxqueue",
    "minconn", "name", "namespace", "npn", "observe", "on-error", "on-marked-down", "on-marked-up",
    "pool-conn-name", "pool-low-conn", "pool-max-conn", "pool-purge-delay", "port", "proto", "proxy-v2-options",
    "redir", "renegotiate", "resolve-net", "resolve-opts", "resolve-prefer", "resolvers", "rise",
    "set-proxy-v2-tlv-fmt", "shard", "sigalgs", "slowstart", "sni", "socks4", "ssl-max-ver", "ssl-min-ver",
    "strict-maxconn", "tcp-md5sig", "tcp-ut", "track", "verify", "verifyhost", "weight", "ws",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """What the options say; addresses are texts.

    address, port   of the health check; empty and 0: those of the server
    foreign         connections leave with another host's address; None: as the section has it
    usesrc          the same, said in this very line
    """

    check: bool = False
    port: int = 0
    address: str = ""
    agent_check: bool = False
    agent_port: int = 0
    agent_address: str = ""
    socks4: str = ""
    check_via_socks4: bool = False
    namespace: str = ""
    foreign: bool | None = None
    usesrc: bool = False


def server_options(words: Sequence[str], before: Options) -> Options:
    """The options of a line, on top of those that the default-server lines before it have set."""
    found = replace(before, usesrc=False)
    at = 0
    while at < len(words):
        word = words[at]
        value = words[at + 1] if at + 1 < len(words) else ""
        at += 1 + (word in _VALUES)
        match word:
            case "check" | "no-check":
                found = replace(found, check=word == "check")
            case "port":
                found = replace(found, port=_port(value), agent_port=found.agent_port or _port(value))
            case "addr":
                found = replace(found, address=value)
            case "agent-check" | "no-agent-check":
                found = replace(found, agent_check=word == "agent-check")
            case "agent-port":
                found = replace(found, agent_port=_port(value))
            case "agent-addr":
                found = replace(found, agent_address=value)
            case "socks4":
                found = replace(found, socks4=value)
            case "check-via-socks4":
                found = replace(found, check_via_socks4=True)
            case "namespace":
                found = replace(found, namespace=value)
            case "source":
                found = replace(found, foreign=False)
                at += 1
            case "usesrc":
                found = replace(found, foreign=True, usesrc=True)
                at += 1
            case "interface":
                at += 1
    return found


def _port(text: str) -> int:
    """What HAProxy makes of it: 0 where it is no port."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65536 else 0
