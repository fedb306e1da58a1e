"""What happened to a packet."""

#: what happened to a packet: accept, drop, reject and its kind, queue and its number, unknown and the target's text
Verdict = tuple[str, str]
ACCEPT: Verdict = ("accept", "")
DROP: Verdict = ("drop", "")
