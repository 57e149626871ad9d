"""A connection between two parts that can be cut: a relay on a port of its own."""

import socket
import threading
from contextlib import suppress

from stack.ports import HOST

CHUNK = 65_536


class Relay:
    """Passes on to `port` what arrives at its own port, until it is `cut`: then open connections are reset, and new
    ones closed at once. During a `silence` it takes everything and passes nothing on, as a lost network does."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server((HOST, 0))
        self.port = int(self._server.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Resets every connection and refuses new ones."""
        self._cut = True
        self.drop()

    def silence(self) -> None:
        """Passes nothing on any more, without closing anything."""
        self._flows.clear()

    def drop(self) -> None:
        """Resets every connection that is open."""
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """All as it was. What was open during a silence is reset: its packets are lost."""
        if not self._flows.is_set():
            self.drop()
        self._cut = False
        self._flows.set()

    def _accept(self) -> None:
        while True:
            client, _ = self._server.accept()
            if self._cut:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._flows.wait()
        try:
            server = socket.create_connection((HOST, self._target), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        pair = {client, server}
        self._open |= pair
        back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
        back.start()
        self._copy(client, server)
        back.join()
        self._open -= pair
        for one in pair:
            one.close()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                self._flows.wait()
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
