"""HTTP clients of a lab: one page, or many at once."""

import contextlib
import socket
import threading
from collections.abc import Iterable

from tests.kernel.lab import Lab

#: how long a client waits for the next bytes; a lost segment is sent again after 0.2 s, a lost SYN after 1 s
PATIENCE = 2.5


def page(lab: Lab, host: str, to: str, port: int, path: str = "/") -> bytes | None:
    """The body of a page; None when it does not arrive whole."""
    answer = b""
    with lab.open_socket(host, socket.SOCK_STREAM, six=":" in to) as asking, contextlib.suppress(OSError):
        asking.settimeout(PATIENCE)
        asking.connect((to, port))
        asking.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        while data := asking.recv(65536):
            answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        if head.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200")):
            return body
    return None


def requests(lab: Lab, host: str, to: Iterable[tuple[str, int]], count: int, clients: int = 8) -> int:
    """How many of `count` requests to each (address, port) are answered with `ok`, several clients asking at once."""
    todo = [place for place in to for _ in range(count)]
    answered: list[bytes | None] = []

    def work() -> None:
        with contextlib.suppress(IndexError):
            while True:
                answered.append(page(lab, host, *todo.pop()))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answered.count(b"ok")
