"""What a command may take: seconds of the processor, parts of what a peer takes by the clock, and memory."""

from collections.abc import Iterator, Mapping

#: what a command took, by its name: seconds of the processor, MB, and seconds by the clock
Figures = Mapping[str, tuple[float, float, float]]

_CHECK = {20: 0.08, 1_000: 0.12, 10_000: 0.35}
_LARGE = {"blocklist": 1.5, "kube": 1.5, "acl": 3.0, "hosting": 5.0}
_OPTIMIZED = "nft -c -o"
_RESTORE = "iptables-nft-restore --test"
_ABOVE = {10_000: ("check", 0.5), 100_000: ("check", 1.5)}
_PEAK = 180


def judged(shape: str, size: int, command: str, found: Figures) -> str:
    """The targets of a command on a shape, and whether each is met; empty where there is none."""
    _, memory, _ = found[command]
    said = []
    for took, limit, text in _limits(shape, size, command, found):
        said.append(f"{text}: {'met' if took <= limit else f'**no**, {took / limit:.1f} times'}")
    if size == 100_000 and command == "check":
        said.append(f"{_PEAK} MB: {'met' if memory <= _PEAK else f'**no**, {memory / _PEAK:.1f} times'}")
    return "; ".join(said)


def _limits(shape: str, size: int, command: str, found: Figures) -> Iterator[tuple[float, float, str]]:
    """What was taken, what may be, and how that is said; a peer waits for the kernel, so its time is by the clock."""
    cpu, _, wall = found[command]
    if command == "check":
        seconds = _LARGE.get(shape) if size == 100_000 else _CHECK.get(size)
        if seconds is not None:
            yield cpu, seconds, f"{seconds} s"
        part = _part(shape, size)
        if part is not None and _OPTIMIZED in found:
            yield wall, part * found[_OPTIMIZED][2], f"{part} x {_OPTIMIZED}"
    elif command == "read" and size == 100_000:
        yield cpu, 0.5, "0.5 s"
        if shape in ("acl", "hosting") and _RESTORE in found:
            yield wall, 0.5 * found[_RESTORE][2], f"0.5 x {_RESTORE}"
    elif command == "suggest" and size in _ABOVE and "check" in found:
        other, more = _ABOVE[size]
        yield cpu, found[other][0] + more, f"{other} + {more} s"
    elif command.startswith("verify") and size == 100_000 and "read" in found:
        yield cpu, 2 * found["read"][0] + 0.5, "reading both + 0.5 s"


def _part(shape: str, size: int) -> float | None:
    if size == 100_000:
        return 0.35 if shape in ("acl", "blocklist") else None
    if size == 10_000:
        return {"acl": 1.0, "blocklist": 1.0, "hosting": 0.1}.get(shape)
    return {20: 5.0, 1_000: 1.0}.get(size)
