"""HTTP server of the live page; it answers only GET requests for local host names."""

from __future__ import annotations

import errno
import ipaddress
import socket
import socketserver
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lsweep._version import __version__
from lsweep.errors import InputError
from lsweep.watch.responses import Answer, Site

# No other page may frame, read or embed this one. What it may load is restricted by the policy in the page itself.
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(ThreadingHTTPServer):
    """Serves a site.

    Args:
        site: the resources to serve.
        host: a name or address of this machine.
        port: 0 chooses a free one.

    Raises:
        InputError: the address is not available; the message gives the reason.
    """

    daemon_threads = True

    def __init__(self, site: Site, host: str, port: int) -> None:
        self.site, self._host = site, host
        if not 0 <= port <= 65535:
            raise InputError(f"--port must be 0 to 65535, got {port}", key="port")
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self.address_family, _, _, _, address = found[0]
            super().__init__(address, _Handler)  # type: ignore[arg-type]
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            hint = "; use --port 0 for a free one" if getattr(error, "errno", 0) == errno.EADDRINUSE else ""
            raise InputError(f"cannot listen on {host} port {port}: {reason}{hint}", key="port") from None

    def server_bind(self) -> None:
        """Bind like a plain TCP server; HTTPServer would look up its own name in the network."""
        socketserver.TCPServer.server_bind(self)

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self.server_address[1])

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return ipaddress.ip_address(str(self.server_address[0]).partition("%")[0]).is_loopback

    @property
    def url(self) -> str:
        """The URL of the page."""
        address = ipaddress.ip_address(str(self.server_address[0]).partition("%")[0])
        name = socket.gethostname() if address.is_unspecified else str(address)
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}/"

    def is_ours(self, host: str) -> bool:
        """Whether the Host header of a request names this machine.

        A foreign page may resolve its own name to this address (DNS rebinding) and could then read the data as its
        own; the name in the header reveals this. The port may differ, because of an ssh tunnel.
        """
        name = _name(host)
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            names = {"localhost"} if self.loopback else {"localhost", socket.gethostname().lower()}
            return name in names | {self._host.lower()}
        return address.is_loopback or not self.loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections closed by the browser."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    bare = host.strip().lower()
    if bare.startswith("["):
        name, _, after = bare[1:].partition("]")
        return name if not after or after.startswith(":") else ""
    return bare.partition(":")[0].removesuffix(".")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = f"lsweep/{__version__}", ""
    timeout = 60  # seconds before an idle connection is closed
    server: Server

    def do_GET(self) -> None:
        """Answer one request."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.is_ours(hosts[0]):
            return self._refuse(
                HTTPStatus.MISDIRECTED_REQUEST, "lsweep does not serve this host name; see --host"
            )
        answer = self.server.site.answer(self.path)
        if answer is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "no such resource")
        tag = f'"{answer.tag}"' if answer.tag else ""
        if tag and self.headers.get("If-None-Match") == tag:
            return self._send(HTTPStatus.NOT_MODIFIED, Answer(b"", answer.kind), tag)
        return self._send(HTTPStatus.OK, answer, tag)

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        self.close_connection = True
        self._send(status, Answer(f"{words}\n".encode(), "text/plain; charset=utf-8"), "")

    def _send(self, status: HTTPStatus, answer: Answer, tag: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        # The browser caches tagged answers and revalidates them by their tag.
        self.send_header("Cache-Control", "no-cache" if tag else "no-store")
        if tag:
            self.send_header("ETag", tag)
        if status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a page sends a request every other second."""
