"""A small client of the real yaml-language-server: the Language Server Protocol over its standard input and output."""

import json
import queue
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

import pytest

from beforehand import ROOT

VERSION = "1.19.2"
"""Of yaml-language-server, from npm; pinned, and kept in the virtual environment once it is there."""

WAIT = 20.0


def installed() -> Path:
    """The server's script, installed once. Skips the test where node or npm is missing or npm reaches no registry."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip(f"{'node' if node is None else 'npm'} is not installed, so there is no yaml-language-server to ask")
    home = (ROOT / ".venv" if (ROOT / ".venv").is_dir() else ROOT / "var") / f"yaml-language-server-{VERSION}"
    script = home / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
    if not script.is_file():
        home.mkdir(parents=True, exist_ok=True)
        quiet = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
        command = [npm, "install", *quiet, "--prefix", str(home), f"yaml-language-server@{VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=home)
        if done.returncode or not script.is_file():
            shutil.rmtree(home, ignore_errors=True)
            pytest.skip(f"npm cannot install yaml-language-server: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return script


class Server:
    """One running server. ``settings`` are those of its section ``yaml``."""

    def __init__(self, script: Path, settings: dict[str, Any], folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.count = 0
        self.answers: dict[int, queue.Queue[Any]] = {}
        self.problems: queue.Queue[Any] = queue.Queue()
        command = [shutil.which("node") or "node", str(script), "--stdio"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder
        )
        self.reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self.reader.start()
        able = {
            "workspace": {"configuration": True},
            "textDocument": {
                "completion": {"completionItem": {"documentationFormat": ["markdown"], "snippetSupport": True}},
                "hover": {"contentFormat": ["markdown", "plaintext"]},
            },
        }
        uri = self.folder.as_uri()
        said = {"processId": None, "rootUri": uri, "capabilities": able}
        self.ask("initialize", said | {"workspaceFolders": [{"uri": uri, "name": "rules"}]})
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": {"yaml": self.settings}})
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        """A request and its answer."""
        self.count += 1
        answer = self.answers[self.count] = queue.Queue()
        self._send({"id": self.count, "method": method, "params": params})
        found = answer.get(timeout=WAIT)
        assert "error" not in found, found
        return found["result"]

    def tell(self, method: str, params: dict[str, Any]) -> None:
        """A notification."""
        self._send({"method": method, "params": params})

    def opened(self, name: str, text: str) -> tuple[str, list[Any]]:
        """Open a document; gives its address and the first problems that the server publishes of it."""
        uri = (self.folder / name).as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        while True:
            found = self.problems.get(timeout=WAIT)
            if found["uri"] == uri:
                return uri, found["diagnostics"]

    def at(self, method: str, uri: str, text: str, mark: str) -> Any:
        """Ask about the place right behind ``mark`` in a text."""
        before = text[: text.index(mark) + len(mark)]
        place = {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}
        return self.ask(f"textDocument/{method}", {"textDocument": {"uri": uri}, "position": place})

    def _send(self, said: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **said}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while line := stream.readline():
            length = int(line.split(b":")[1])
            while stream.readline().strip():
                pass
            self._heard(json.loads(stream.read(length)))

    def _heard(self, said: dict[str, Any]) -> None:
        if said.get("method") == "textDocument/publishDiagnostics":
            self.problems.put(said["params"])
        elif said.get("method") == "workspace/configuration":
            sections = [item.get("section") for item in said["params"]["items"]]
            answers = [self.settings if section == "yaml" else {} for section in sections]
            self._send({"id": said["id"], "result": answers})
        elif "method" in said and "id" in said:
            self._send({"id": said["id"], "result": None})
        elif "id" in said:
            self.answers[said["id"]].put(said)
