"""Real clients nobody here wrote: the npm package `ws` under Node, and a browser. Each is skipped, loudly, where it can't be had."""

import http.server
import pathlib
import shutil
import subprocess
import tempfile
import threading
import urllib.parse

import pytest

CLIENTS = pathlib.Path(__file__).parent / "clients"


def test_node_ws(server):
    """Twenty messages from one `ws` client reach another, once and in order."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed: the Node client was NOT tested")
    if not (CLIENTS / "node_modules/ws").exists():
        install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--no-package-lock"]
        subprocess.run(install, cwd=CLIENTS, check=True, timeout=300)
    server.conversation("node", ["alice", "bob"])
    command = ["node", "node.mjs", server.url, server.token("alice"), server.token("bob"), "node"]
    run = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "ok", run.stderr


def test_browser(server):
    """A page in headless Chromium talks over two sockets, with the token in the subprotocol list."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium is installed: the browser was NOT tested")
    server.conversation("browser", ["alice", "bob"])
    query = {"url": server.url, "a": server.token("alice"), "b": server.token("bob"), "conversation": "browser"}
    with Page() as page, tempfile.TemporaryDirectory() as profile:
        flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        flags += " --disable-component-update --disable-sync"
        address = f"http://127.0.0.1:{page.port}/?{urllib.parse.urlencode(query)}"
        browser = subprocess.Popen(
            [chromium, *flags.split(), f"--user-data-dir={profile}", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert page.result(timeout=60) == "ok"
        finally:
            browser.terminate()
            browser.wait(timeout=20)


class Page:
    """Serves the page and waits for what it reports."""

    def __enter__(self):
        page = self
        self.reported = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = (CLIENTS / "browser.html").read_bytes()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                page.text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.send_response(204)
                self.end_headers()
                page.reported.set()

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def result(self, timeout):
        """What the page reported, within `timeout` seconds."""
        assert self.reported.wait(timeout), "the page reported nothing"
        return self.text

    def __exit__(self, *_):
        self.http.shutdown()
