"""A network that can fail: a proxy between a browser and a page."""

import contextlib
import re
import socket
import threading
from urllib.parse import urlsplit


class Proxy:
    """Passes connections on to a server until it is cut; with a prefix, only what is
    asked below that."""

    def __init__(self, url: str, prefix: str = ""):
        self._target = ("127.0.0.1", urlsplit(url).port)
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{prefix}"
        self._prefix = prefix.encode()
        self._up = True
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """End all connections and refuse new ones."""
        self._up = False
        for end in list(self._open):
            self._end(end)

    def join(self):
        """Let connections through again."""
        self._up = True

    def close(self):
        self.cut()
        self._listener.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._up:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(
                    target=self._pass_on, args=(source, sink), daemon=True
                ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket):
        with contextlib.suppress(OSError):
            if self._prefix and sink.getpeername() == self._target:
                sink.sendall(self._without_prefix(source))
            while block := source.recv(1 << 16):
                sink.sendall(block)
        self._end(source)
        self._end(sink)

    def _without_prefix(self, source: socket.socket) -> bytes:
        """The beginning of the one request of a connection; an OSError if it is beside
        the prefix."""
        head = b""
        while b"\r\n\r\n" not in head and (block := source.recv(1 << 16)):
            head += block
        if not head.partition(b" ")[2].startswith(self._prefix + b"/"):
            raise OSError(f"beside the prefix: {head[:80]!r}")
        head = re.sub(
            rb"(?i)\r\nconnection:[^\r]*",
            b"",
            head.replace(self._prefix, b"", 1),
            count=1,
        )
        return head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    def _end(self, end: socket.socket):
        self._open.discard(end)
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
