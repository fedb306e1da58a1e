"""Puts crafted packets on the wires to the router of `Lab(router=True)`, or sends them from it."""

import contextlib
import socket
from typing import Self

from ruleaudit.model.fields import Hook
from tests.kernel import packets
from tests.kernel.lab import CLIENT, CLIENT6, ROUTER, ROUTER6, Lab
from tests.kernel.random_packets import LAST, Crafted, Scene


class Sender:
    """Sockets that put packets on the wires to the router, or send them from it.

    Behind each packet on a wire goes a LAST one: when that was counted, the first one has been where it could go.
    """

    def __init__(self, lab: Lab, scene: Scene) -> None:
        self.lab, self.scene = lab, scene
        source, to = (CLIENT6, ROUTER6) if scene.six else (CLIENT, ROUTER)
        self.last = packets.with_class(packets.udp(source, 9, to, 9), LAST)
        self._open = contextlib.ExitStack()
        self.wires: dict[str, tuple[socket.socket, bytes]] = {}

    def __enter__(self) -> Self:
        if self.scene.hook is Hook.OUTPUT:
            kind, raw = socket.SOCK_RAW, socket.IPPROTO_RAW
            self.out = self._open.enter_context(self.lab.open_socket("router", kind, six=self.scene.six, protocol=raw))
            if not self.scene.six:
                self.out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            with self.lab.hosts["router"].inside():
                self.scope = socket.if_nametoindex("r1")
            if self.scene.six:
                self.out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self.scope)
            return self
        for ours, (host, device) in {"r0": ("client", "c0"), "r1": ("server", "s0")}.items():
            with self.lab.hosts[host].inside():
                wire = self._open.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
                wire.bind((device, 0))
            macs = []
            for name, at in (("router", ours), (host, device)):
                with self.lab.hosts[name].inside():
                    macs.append(mac(at))
            self.wires[ours] = (wire, macs[0] + macs[1])
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def send(self, one: Crafted) -> None:
        if one.packet.iif:
            wire, head = self.wires[one.packet.iif]
            kind = b"\x86\xdd" if self.scene.six else b"\x08\x00"
            wire.send((one.link or head[:6]) + head[6:] + kind + one.raw)
            wire.send(head + kind + self.last)
            return
        scope = self.scope if one.packet.oif == "r1" and (one.to[:2] == "ff" or one.to[:4] == "fe80") else 0
        # the last rule drops it, and the sender is told
        with contextlib.suppress(PermissionError):
            self.out.sendto(one.raw, (one.to, 0, 0, scope) if self.scene.six else (one.to, 0))


def mac(device: str) -> bytes:
    """The link address of an interface of the namespace that this thread is in."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as asking:
        asking.bind((device, 0))
        return bytes(asking.getsockname()[4])
