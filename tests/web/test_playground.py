"""The playground: its server, its page in headless Chromium, and its numbers beside onnxruntime's in Python."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from modgrad.playground import server as playground


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


def ask(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
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


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/models/../../secret", "/nothing.js"])
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
    assert playground.main(["--port", "0", "--no-open"]) == 0
    assert len(opened) == 1


@pytest.mark.thorough
def test_a_wheel_brings_the_page(tmp_path):
    """With what `make playground` builds, though git leaves it alone."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    root = Path(__file__).parents[2]
    marked = [name for name in ("index.html", "models/index.json") if (playground.PAGE / name).exists()]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=root,
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
