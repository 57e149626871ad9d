"""python -m prediction_api: serves until it is stopped. Exit code 2 when it cannot start."""

import errno
import gc
import signal
import socket
import sys
import threading
from types import FrameType

import uvicorn

from prediction_api.errors import StartRefused
from prediction_api.http.admission import LimitedConnection
from prediction_api.main import create_app
from prediction_api.settings import Settings, read_settings
from prediction_api.telemetry.events import log_event, send_events_to_stderr


class DrainingServer(uvicorn.Server):
    """After the signal to stop, it accepts no new connections, but keeps answering over open ones for `seconds`, and
    closes each with its answer. A proxy that cannot connect tries the next replica; a request on a kept connection that
    is closed at that moment would be lost."""

    def __init__(self, config: uvicorn.Config, seconds: float) -> None:
        super().__init__(config)
        self._seconds = seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        # What is there now stays. Python's collector would look through it again and again, 50 ms each time, while
        # every request waits.
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or not self._seconds or not self.started:
            super().handle_exit(sig, frame)
            return
        self.config.encoded_headers.append((b"connection", b"close"))
        for server in self.servers:
            server.get_loop().call_soon_threadsafe(server.close)
        ending = threading.Timer(self._seconds, super().handle_exit, (sig, frame))
        ending.daemon = True
        ending.start()
        self._seconds = 0.0  # told again, it ends at once


def main() -> int:
    """Runs the service; returns the exit code."""
    try:
        settings = read_settings()
        app = create_app(settings)
        listener = open_listener(settings)
    except StartRefused as error:
        sys.stderr.write(f"{error.detail}\n")
        return 2
    send_events_to_stderr()
    log_event("listening", host=settings.api_host, port=listener.getsockname()[1])
    config = uvicorn.Config(
        app,
        http=LimitedConnection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here depends on who the client is
        timeout_graceful_shutdown=5,
    )
    DrainingServer(config, settings.api_drain_seconds).run(sockets=[listener])
    return 0


def open_listener(settings: Settings) -> socket.socket:
    """The bound socket. Raises StartRefused naming the address and the variable to change."""
    host, port = settings.api_host, settings.api_port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        known = {
            errno.EADDRINUSE: f"port {port} on {host} is taken by another program; set API_PORT to a free port",
            errno.EACCES: f"port {port} needs more rights than this user has; set API_PORT to a port above 1023",
        }
        other = f"cannot listen on API_HOST={host}, API_PORT={port}: {error.strerror or error}"
        raise StartRefused(known.get(error.errno or 0, other)) from None


if __name__ == "__main__":
    sys.exit(main())
