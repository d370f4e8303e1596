"""The documentation: its examples run, its links lead somewhere.

`python tests/test_docs.py [PAGE ...]` writes the outputs that the pages' examples give now into
them; read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import runpy
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

import echoloom as el

ROOT = Path(__file__).parents[1]
README, TOUR = ROOT / "README.md", ROOT / "docs" / "tour.md"
# The pages, and the fewest examples that are there.
WITH_EXAMPLES = {
    TOUR: 30,
    ROOT / "docs" / "models.md": 10,
    ROOT / "docs" / "training.md": 15,
    ROOT / "docs" / "gradients.md": 15,
    ROOT / "docs" / "streams.md": 25,
    ROOT / "docs" / "waves.md": 14,
}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def examples(page: Path) -> list[doctest.Example]:
    """The `>>>` lines of a page, fences taken for blank lines."""
    text = re.sub(r"^```.*$", "", page.read_text(), flags=re.MULTILINE)
    return doctest.DocTestParser().get_examples(text, page.name)


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Relative links of a page outside code, as (path, anchor)."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in LINK.findall(text):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(page: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    headings = re.findall(r"^#+ +(.+?) *$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=[pytest.mark.core] if p == TOUR else []) for p in WITH_EXAMPLES],
    ids=lambda page: page.name,
)
def test_a_page_does_what_it_says(page: Path):
    found = examples(page)
    assert len(found) > WITH_EXAMPLES[page]
    test = doctest.DocTest(found, {"__name__": "__main__"}, page.name, str(page), 0, None)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.failed == 0, "".join(said)


def test_the_onnx_page_does_what_it_says():
    page = ROOT / "docs" / "onnx.md"
    said: list[str] = []
    test = doctest.DocTest(examples(page), {}, page.name, str(page), 0, None)
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.attempted > 15 and result.failed == 0, "".join(said)


def test_the_readme_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    built: list[object] = []
    # A bitstream takes minutes; that the call is one `build` accepts is tested where it is.
    monkeypatch.setattr(el, "build", lambda *arguments: built.append(arguments), raising=False)
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, README.name, "exec"), scope)
    assert len(built) == 1
    report = scope["report"]
    assert isinstance(report, el.VerifyReport)
    assert report.lsb_off == 0
    assert all(level.compared and not level.mismatches for level in report.levels.values())


def test_the_drawings_are_what_their_script_draws(monkeypatch: pytest.MonkeyPatch):
    folder = ROOT / "docs" / "drawings"
    monkeypatch.syspath_prepend(str(folder))
    drawings = runpy.run_path(str(folder / "draw.py"))["DRAWINGS"]
    assert {path.stem for path in folder.glob("*.svg")} == drawings.keys()
    for name, draw in drawings.items():
        assert (folder / f"{name}.svg").read_text() == str(draw()), f"run {folder / 'draw.py'}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path):
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}, which is not there"
        assert target.is_relative_to(ROOT), f"{page.name} links out of the repository: {path}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {path}#{anchor}"


def test_the_readme_names_every_page_and_no_other():
    named = set(re.findall(r"docs/[\w./-]+\.md", README.read_text()))
    assert named == {page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")}


def write_outputs(page: Path) -> None:
    """Run a page's examples and write what they print under them."""
    lines, written = page.read_text().splitlines(), 0
    scope = {"__name__": "__main__"}
    result: list[str] = []
    for example in examples(page):
        end = example.lineno + example.source.count("\n")
        result += lines[written:end]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            try:
                exec(compile(example.source, page.name, "single"), scope)
            except Exception as error:
                print("Traceback (most recent call last):")
                print(*traceback.format_exception_only(error), sep="", end="")
        result += printed.getvalue().splitlines()
        written = end + example.want.count("\n")
    page.write_text("\n".join([*result, *lines[written:]]) + "\n")


if __name__ == "__main__":
    for page in WITH_EXAMPLES:
        if not sys.argv[1:] or page.name in sys.argv[1:]:
            write_outputs(page)
