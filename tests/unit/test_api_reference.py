"""The reference of the API as HTML."""

from __future__ import annotations

import re

import pytest

from smsevents.web.reference import PAGES, reference


def test_sections_have_the_same_addresses_in_each_language() -> None:
    """A link to a section works in both languages: the ids and the list of sections are the same."""
    english, czech = reference("en"), reference("cs")
    ids = re.findall(r'\sid="([^"]+)"', english.sections)
    assert ids == re.findall(r'\sid="([^"]+)"', czech.sections)
    assert len(ids) == len({*ids}) > 20
    listed = re.findall(r'href="#([^"]+)"', english.contents)
    assert listed == re.findall(r'href="#([^"]+)"', czech.contents) == ids


@pytest.mark.parametrize("language", PAGES)
def test_the_html_is_balanced(language: str) -> None:
    """Each list and each item that is opened is closed, in its order."""
    opened: list[str] = []
    for closing, tag in re.findall(
        r"<(/?)(ul|ol|li|table|thead|tbody|tr|td|th|p|pre|a|code|h2|h3)\b", "".join(reference(language))
    ):
        if closing:
            assert opened.pop() == tag
        else:
            opened.append(tag)
    assert opened == []


@pytest.mark.parametrize("language", PAGES)
def test_pages_that_the_server_does_not_have_are_named(language: str) -> None:
    """A link to another page of the documentation becomes its name: on /docs there is nothing to follow it to."""
    text = "".join(reference(language))
    assert ".md" not in "".join(re.findall(r'href="[^"]*"', text))
    assert "docs/operating.md" in text
    assert 'href="./"' in text
