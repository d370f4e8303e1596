"""Pages of HTML: whole, escaped, and in need of nothing else."""

from __future__ import annotations

import pytest
from html_pages import browsed, check_page

from echoloom.backends.report.figures import INK, drawn
from echoloom.backends.report.page import Part, figure, folded, page, paragraph, table


def picture(name: str) -> str:
    with drawn(name, 3, 2) as found:
        axes = found.figure.subplots()
        axes.plot([1, 2], [3, 4], label="a < b & c")
        axes.legend()
    return found.svg


def test_a_page_of_all_there_is_asks_for_nothing(tmp_path):
    body = paragraph("1 < 2 & so on") + table(["a", "<b>"], [["x<y", 1.5], ["", "3 %"]], [1])
    body += figure(picture("one"), "a & b") + figure(picture("two"), "") + folded("more", body)
    parts = [Part("What it says", body), Part("Ends", "")]
    (tmp_path / "page.html").write_bytes(page("T < 5", "lead & more", parts))
    text = check_page(tmp_path / "page.html")
    assert "<b>" not in text and "T &lt; 5" in text
    assert '<a href="#what-it-says">' in text and '<td class="number">3 %</td>' in text
    assert '<tr class="begins">' in text


def test_a_link_to_nowhere_and_a_request_are_noticed(tmp_path):
    for body in ('<a href="#gone">x</a>', '<img src="http://a.b/c.png">', "<p>"):
        (tmp_path / "page.html").write_bytes(page("T", "", [Part("P", body)]))
        with pytest.raises(AssertionError):
            check_page(tmp_path / "page.html")


def test_pictures_are_drawn_in_the_pages_colour_and_alike_each_time():
    assert INK not in picture("one") and "currentColor" in picture("one")
    assert "a &lt; b &amp; c</text>" in picture("one")
    assert picture("one") == picture("one")
    assert picture("one").startswith("<svg") and "<metadata" not in picture("one")


def test_a_browser_opens_a_page_and_would_notice_a_request(tmp_path):
    target = tmp_path / "page.html"
    target.write_bytes(page("T", "", [Part("P", figure(picture("one"), "one") + table([], []))]))
    assert browsed(target) == []
    asks = '<img src="http://127.0.0.1:9/a.png"><script src="http://127.0.0.1:9/b.js"></script>'
    target.write_bytes(page("T", "", [Part("P", asks)]))
    refused = [line for line in browsed(target) if "Content Security Policy" in line]
    assert len(refused) == 2 and "a.png" in refused[0] + refused[1]
