"""Whether a page of HTML is whole, and needs nothing but itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

EMPTY = {"meta", "link", "br", "img", "use", "path", "rect"}  # tags that need no end


class _Reader(HTMLParser):
    """Tags that are open, and what attributes point at."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.identities: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "action", "srcset"):
                self.addresses.append(value or "")
            if name == "id":
                self.identities.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            assert self.open.pop() == tag


def check_page(path: Path) -> str:
    """The page's text, after every tag was found closed, every link leads to a part of the page,
    and nothing would be asked for elsewhere."""
    text = path.read_text()
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []
    assert "script" not in reader.tags
    for address in reader.addresses:
        assert address == "data:," or address[1:] in reader.identities, address
        assert address[0] == "#" or address == "data:,"
    assert not re.search(r"@import|url\((?!['\"]?#)", text)
    return text


def browsed(path: Path) -> list[str]:
    """What Chromium complains of when it opens a page. The test is skipped where there is none."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("Chromium is not installed")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={profile}", "--dump-dom", path.resolve().as_uri(),
        ]  # fmt: skip
        found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0 and "</body>" in found.stdout
    return [line for line in found.stderr.splitlines() if ":CONSOLE" in line]
