"""The playground's file server: on loopback only, files and nothing else."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["PAGE", "add_arguments", "main", "playground", "server"]

PAGE = Path(__file__).parent / "page"
PORT = 8462  # the same from time to time, so that the browser finds what it keeps of the page
HOST = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    """Files of one folder, by the types that browsers insist on whatever the machine's own table says."""

    extensions_map = {  # noqa: RUF012 (as in the base class)
        **SimpleHTTPRequestHandler.extensions_map,
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".onnx": "application/octet-stream",
        ".safetensors": "application/octet-stream",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
    }
    protocol_version = "HTTP/1.1"  # connections are kept: the page has many small files

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # kept, but asked for again: a newer modgrad has a newer page
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def send_head(self) -> Any:
        """As in the base class; but it takes every file that is older than the one the browser keeps for unmodified.

        The page of another modgrad at the same address may be older: only the very same date says that nothing changed.
        """
        path = self.translate_path(self.path)
        if os.path.isdir(path):
            path = os.path.join(path, "index.html")
        if os.path.exists(path) and self.headers["If-Modified-Since"] != self.date_time_string(os.path.getmtime(path)):
            del self.headers["If-Modified-Since"]
        return super().send_head()

    def list_directory(self, path: Any) -> None:
        """A folder is no file."""
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that closes a connection early is no error; another error is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def server(port: int | None = None, folder: Path | None = None) -> ThreadingHTTPServer:
    """A server of the page in `folder` (the playground's, if none is given), not started yet, at 127.0.0.1.

    port: 0 for any that is free. Without one it is 8462 or, if that is taken, any that is free.
    Raises FileNotFoundError where the page has not been built, OSError where the port is taken.
    """
    folder = folder or PAGE
    missing = [name for name in ("index.html", "models/index.json") if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"the playground's page is not built: there is no {folder / missing[0]}. In a clone of modgrad, with Node "
            "20 or newer, write make playground; a wheel made after that has it within"
        )
    handler = partial(_Handler, directory=str(folder))
    try:
        return _Server((HOST, PORT if port is None else port), handler)
    except OSError:
        if port is not None:
            raise
        return _Server((HOST, 0), handler)


def playground(port: int | None = None, *, open_browser: bool = True, folder: Path | None = None) -> int:
    """Serve the playground until Ctrl-C, and open it in the browser. Returns an exit status."""
    try:
        running = server(port, folder)
    except (FileNotFoundError, OSError, OverflowError) as error:
        taken = "" if isinstance(error, FileNotFoundError) else f"port {port}: "
        sys.stderr.write(f"modgrad playground: {taken}{error}\n")
        return 1
    with running:
        address = f"http://{HOST}:{running.server_port}/"
        sys.stdout.write(f"modgrad playground at {address}, to end it press Ctrl-C\n")
        sys.stdout.flush()
        if open_browser:
            webbrowser.open(address)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            sys.stdout.write("\n")
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `modgrad playground`."""
    parser.add_argument("--port", type=int, help=f"where to serve it at {HOST} (default: {PORT}, or any that is free)")
    parser.add_argument("--no-open", action="store_true", help="do not open the browser")


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m modgrad.playground`."""
    parser = argparse.ArgumentParser(
        prog="modgrad playground", description="Train exported steps in the browser, on this machine alone."
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    return playground(options.port, open_browser=not options.no_open)
