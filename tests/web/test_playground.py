"""The playground: its server, its page in headless Chromium, and its numbers beside onnxruntime's in Python."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from modgrad import cli
from modgrad.playground import server as playground
from modgrad.playground.sizes import sizes, table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A page as small as can be."""
    (tmp_path / "page" / "models").mkdir(parents=True)
    (tmp_path / "page" / "index.html").write_text("<!doctype html>hello")
    (tmp_path / "page" / "ort.wasm").write_bytes(b"\0asm")
    (tmp_path / "page" / "models" / "index.json").write_text("{}")
    (tmp_path / "secret").write_text("not to be read")
    return tmp_path / "page"


@pytest.fixture
def serve() -> Iterator[Callable[[Path], int]]:
    running = []

    def start(folder: Path) -> int:
        server = playground.server(0, folder)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        running.append(server)
        return server.server_port

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    found = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/ort.wasm", "application/wasm"),
        ("/models/index.json", "application/json"),
    ],
)
def test_files_are_served_as_what_they_are(folder, serve, path, kind):
    status, headers, body = ask(serve(folder), path)
    assert (status, headers["content-type"]) == (200, kind)
    assert body
    assert headers["cache-control"] == "no-cache"


def test_what_the_browser_keeps_is_asked_for_again(folder, serve):
    """And answered with the file of now, even if it is an older one: that of another modgrad, at the same address."""
    port = serve(folder)
    os.utime(folder / "index.html", (1_000_000, 1_000_000.5))
    _, headers, _ = ask(port, "/")
    assert ask(port, "/", if_modified_since=headers["last-modified"])[0] == 304
    for time in (999_000, 1_001_000):
        os.utime(folder / "index.html", (time, time))
        assert ask(port, "/", if_modified_since=headers["last-modified"])[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "//secret", "/models/../../secret", "/models/", "/nothing.js"],
)
def test_nothing_else_is_served(folder, serve, path):
    status, _, body = ask(serve(folder), path)
    assert status == 404
    assert b"not to be read" not in body


def test_it_only_reads(folder, serve):
    assert ask(serve(folder), "/index.html", "POST")[0] == 501


def test_it_is_for_this_machine_alone(folder):
    with playground.server(0, folder) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken(folder, monkeypatch, capsys):
    with playground.server(0, folder) as first:
        taken = first.server_port
        with pytest.raises(OSError, match="in use"):
            playground.server(taken, folder)
        assert playground.playground(taken, open_browser=False, folder=folder) == 1
        assert f"port {taken}: " in capsys.readouterr().err
        monkeypatch.setattr(playground, "PORT", taken)
        with playground.server(None, folder) as other:  # nobody asked for that one
            assert other.server_port != taken


def test_a_page_that_is_not_built(tmp_path, capsys):
    assert playground.playground(0, open_browser=False, folder=tmp_path) == 1
    assert "make playground" in capsys.readouterr().err


def test_the_command(folder, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(playground, "PAGE", folder)
    monkeypatch.setattr(playground.webbrowser, "open", opened.append)

    def stop(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(playground.ThreadingHTTPServer, "serve_forever", stop)
    assert playground.main(["--port", "0"]) == 0
    assert len(opened) == 1
    assert opened[0].startswith("http://127.0.0.1:")
    assert opened[0] in capsys.readouterr().out
    assert cli.main(["playground", "--port", "0", "--no-open"]) == 0
    assert len(opened) == 1
    assert "http://127.0.0.1:" in capsys.readouterr().out


@pytest.mark.thorough
def test_a_wheel_brings_the_page(tmp_path):
    """With what `make playground` builds, though git leaves it alone."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    marked = [name for name in ("index.html", "models/index.json") if (playground.PAGE / name).exists()]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "modgrad/playground/server.py" in names
    assert [name for name in marked if f"modgrad/playground/page/{name}" in names] == marked


def test_the_page_in_chromium(node, chromium, serve, tmp_path):
    """What web/test/browser.test.ts holds; and the numbers after 100 steps are those of onnxruntime in Python."""
    from tests.web.reference import Reference

    out = Path(os.environ.get("OUT", tmp_path))  # to keep the screenshots
    node("browser", PLAYGROUND_URL=f"http://127.0.0.1:{serve(playground.PAGE)}/", OUT=str(out))
    told = json.loads((out / "steps.json").read_text())
    reference = Reference(playground.PAGE / "models" / "relu-adam.json")
    inputs = np.array(told["inputs"], "float32").reshape(-1, 2)
    classes = np.array(told["classes"])
    assert len(told["batches"]) == 100
    for batch in told["batches"]:
        reference.step(inputs[batch], classes[batch], told["lr"])
    named = reference.named()
    assert named.keys() == told["state"].keys()
    for name, value in named.items():
        np.testing.assert_allclose(np.reshape(told["state"][name], value.shape), value, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", ["access", "offline"])
def test_the_page_for_everybody(node, chromium, serve, tmp_path, name):
    """By the keyboard, on a phone, in dark and light; without its server, with a newer one, with files missing."""
    out = os.environ.get("OUT", str(tmp_path))
    node(name, PLAYGROUND_URL=f"http://127.0.0.1:{serve(playground.PAGE)}/", OUT=out)


def test_the_page_of_ones_own(node, chromium, tmp_path, monkeypatch, capsys):
    """What the README of examples/page says, word by word but for the build and the port."""
    for name in ("examples", "modgrad"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    text = (ROOT / "examples" / "page" / "README.md").read_text()
    build, *commands, serving = re.findall(r"^    (.*?)(?:  +#.*)?$", text, re.M)
    assert build == "make playground"
    for command in commands:
        if command.startswith(".venv/bin/modgrad "):
            assert cli.main(command.split()[1:]) == 0
        else:
            subprocess.run(command, shell=True, check=True)
    assert serving == "python -m http.server --bind 127.0.0.1 --directory page 8000"
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory="page")) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            node("example", PLAYGROUND_URL=f"http://127.0.0.1:{server.server_port}/")
        finally:
            server.shutdown()


def test_the_sizes_in_the_docs(node):
    """docs/playground.md tells those of the page as it is built, but for what another gzip or release makes of it."""
    found = sizes()
    parts = list(found.values())
    whole = found["everything"]
    assert sum(part.bytes for part in (*parts[:3], found["all of `models/`"])) == pytest.approx(whole.bytes, abs=1000)

    def rows(text: str) -> dict[str, list[float]]:
        told = re.findall(r"^\| (.*) \| ([\d,]+) kB \| ([\d,]+) kB \|$", text, re.M)
        return {what: [float(number.replace(",", "")) for number in numbers] for what, *numbers in told}

    told, now = rows((ROOT / "docs" / "playground.md").read_text()), rows(table(found))
    assert told.keys() == now.keys()
    for what, numbers in now.items():
        assert told[what] == pytest.approx(numbers, rel=0.02, abs=1), what
