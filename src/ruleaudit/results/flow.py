"""The connections that one decision of `suggest` is about."""

from dataclasses import dataclass

from ruleaudit.model.ruleset import Rule


@dataclass(frozen=True)
class Flow:
    """A set of connections that one decision is about, in the words of the rule that accepts them.

    `words` is how people call it: `tcp/80,443 from 10.0.0.0/8`; `ports` are texts such as `80` or `8000-8010`;
    `addresses` are the sources (in), the servers (out) or both sides (forward).
    """

    direction: str  #: in, out or forward
    protocol: str
    ports: tuple[str, ...]
    addresses: tuple[str, ...]
    interfaces: tuple[str, ...]
    rule: Rule | None
    entries: int | None = None  #: of a connection table that was given
    at: tuple[str, ...] = ()  #: the serving addresses that it is narrowed to, where its rule accepts more

    @property
    def words(self) -> str:
        ports = ",".join(self.ports)
        text = f"{self.protocol}/{ports}" if ports else self.protocol
        if self.at:
            text += " at " + ", ".join(self.at)
        if self.addresses:
            text += {"in": " from ", "out": " to "}.get(self.direction, " with ") + ", ".join(self.addresses)
        elif self.direction == "out":
            text += " to any host"
        return text
