"""From a list of listening sockets to the services of this host."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from ruleaudit.model.service import Service
from ruleaudit.source import SourceFile
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.sockets import Socket, read

#: programs that people log in through, and the units for which systemd may hold the socket; the origin calls each sshd
_SSH = ("sshd", "ssh", "dropbear", "tinysshd")


def services_of(source: SourceFile) -> tuple[tuple[Service, ...], tuple[Problem, ...]]:
    """Each socket that packets from elsewhere can reach, once, and what is wrong with the list."""
    sockets, problems = read(source)
    found: dict[object, Service] = {}
    for socket in sockets:
        if not _is_local(socket):
            service = _service(socket, source)
            found.setdefault((service.protocol, service.ports, service.addresses, service.interface), service)
    return tuple(found.values()), problems


def _is_local(socket: Socket) -> bool:
    """Only this host itself can reach it, or it waits for copies of packets to many."""
    address = socket.address
    return socket.interface == "lo" or (address is not None and (address.is_loopback or address.is_multicast))


def _service(socket: Socket, source: SourceFile) -> Service:
    address = socket.address
    addresses: tuple[IPv4Network | IPv6Network, ...]
    if address is None:
        addresses = ()
    elif int(address) == 0:
        addresses = (ip_network(f"{address}/0"),)
    else:
        addresses = (ip_network(address),)
    program = next(iter(socket.programs), "")
    is_ssh = socket.protocol == "tcp" and any(p in _SSH for p in socket.programs)
    if is_ssh:
        program = "sshd" if program == "sshd" else f"sshd ({program})"
    line = source.position(socket.span.start).line
    origin = f"{source.path}:{line} {program}".rstrip()
    ports = ((socket.port, socket.port),)
    return Service("in", socket.protocol, ports, addresses, socket.interface, origin, is_ssh)
