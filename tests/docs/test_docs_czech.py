"""The typography of the Czech page of the API."""

from __future__ import annotations

import re

import pytest

from tests.support.documents import ROOT, Page

CZECH = Page(ROOT / "docs" / "api.cs.md")
# Headings keep plain spaces, because anchors are made of them.
PROSE = re.sub(r"^#.*$", "", CZECH.prose_without_spans, flags=re.MULTILINE)
UNITS = "KiB|MiB|dn|hodin|minut|sekund|znak|bajt|bit|řádk|import"

RULES = {
    "a word of one letter, without a non-breaking space after it": r"(?<!\w)[ksvzouai]\s",
    "a number, without a non-breaking space before its unit": rf"\d\s(?:{UNITS})",
    "a number, without non-breaking spaces between its thousands": r"\d\s\d{3}\b",
    "a sign, without non-breaking spaces around it": r"\s[\u2212+=]|[\u2212+=]\s",
    "a straight quotation mark": r"[\"']",
    "a hyphen instead of a dash": r"\S - \S",
    "three full stops instead of an ellipsis": r"\.\.\.",
}


@pytest.mark.parametrize("rule", RULES)
def test_typography(rule: str) -> None:
    """The prose follows each rule of Czech typography."""
    breaking = RULES[rule].replace(r"\s", r"[ \n]")  # `\s` would take the non-breaking space, too

    assert [PROSE[max(0, at.start() - 30) : at.end() + 30] for at in re.finditer(breaking, PROSE, re.IGNORECASE)] == []


def test_pages_in_english_are_said_to_be() -> None:
    """Each link to a page in English is followed by a note that it is, except the link to the English version."""
    after = [PROSE[at.end() :][:12] for at in re.finditer(r"\]\((?!#|api\.md)[^)]+\)", PROSE)]

    assert len(after) > 1
    assert {re.sub(r"\W", "", text) for text in after} == {"anglicky"}
