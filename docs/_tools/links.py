"""Links of the project's Markdown: where each leads, and what it becomes on the site and on PyPI.

Sources have links relative to their own file, as GitHub shows them. The site has its own addresses, and PyPI needs
absolute ones; the repository's address comes from ``[project.urls]`` in pyproject.toml and stands nowhere else.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
BRANCH = "main"

# Pages of the site that are files outside docs/ (left), and where the site shows them (right).
INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "developing/contributing.md",
    "SECURITY.md": "developing/security.md",
    "src/napari_tinc/plugin/guide/compress.md": "reference/docks/compress.md",
    "src/napari_tinc/plugin/guide/leaves.md": "reference/docks/leaves.md",
    "src/napari_tinc/plugin/guide/compare.md": "reference/docks/compare.md",
}
# Pages of the site that have no source in Markdown: docs/_tools/hooks.py makes them.
MADE = {"reference/cli.md"}

_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>(?:[^\[\]]|!?\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")
_CODE = re.compile(r"^(?P<fence>```+).*?^(?P=fence)$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def source_url() -> str:
    """Address of the repository, without a slash at its end."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Source"]).rstrip("/")


def rewritten(text: str, target_of: Callable[[str, bool], str]) -> str:
    """Give every link of a Markdown text, outside of code, a new target.

    Parameters
    ----------
    text : Markdown.
    target_of : called with a link's target and whether it is a picture; returns the new target.
    """

    def link(match: re.Match[str]) -> str:
        inside = _LINK.sub(link, match["text"])  # a picture may be the text of a link
        target = target_of(match["target"], bool(match["picture"]))
        return f"{match['picture']}[{inside}]({target})"

    pieces, end = [], 0
    for code in _CODE.finditer(text):
        pieces += [_LINK.sub(link, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*pieces, _LINK.sub(link, text[end:])])


def targets(text: str) -> list[str]:
    """Targets of all links of a Markdown text, outside of code, in their order."""
    seen: list[str] = []

    def note(target: str, _: bool) -> str:
        seen.append(target)
        return target

    rewritten(text, note)
    return seen


def is_elsewhere(target: str) -> bool:
    """Tell whether a target is an address of its own, not a file of this repository or a heading of the same page."""
    return re.match(r"[a-z][a-z+.-]*:", target) is not None


def in_repository(target: str, page: str) -> str:
    """Path from the root of the repository of a link's target on a page, itself a path from the root."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target.partition("#")[0]))


def absolute(text: str, page: str) -> str:
    """A page whose relative links lead to the repository on the web. Headings of the same page stay."""

    def target_of(target: str, is_picture: bool) -> str:
        if is_elsewhere(target) or target.startswith("#"):
            return target
        kind = "raw" if is_picture else "blob"
        _, mark, heading = target.partition("#")
        return f"{source_url()}/{kind}/{BRANCH}/{in_repository(target, page)}{mark}{heading}"

    return rewritten(text, target_of)


def for_site(text: str, page: str) -> str:
    """A page as the site needs it: links to pages of the site relative to its place there, others absolute.

    Parameters
    ----------
    text : Markdown.
    page : its path from the root of the repository.
    """
    here = place_on_site(page)
    assert here is not None, page

    def target_of(target: str, _: bool) -> str:
        if is_elsewhere(target) or target.startswith("#"):
            return target
        path, (_, mark, heading) = in_repository(target, page), target.partition("#")
        there = place_on_site(path)
        if there is None:
            return f"{source_url()}/blob/{BRANCH}/{path}{mark}{heading}"
        return posixpath.relpath(there, posixpath.dirname(here) or ".") + mark + heading

    return rewritten(text, target_of)


def place_on_site(path: str) -> str | None:
    """Path on the site of a file of the repository, or None where the site does not have it."""
    inside = path.removeprefix(f"{DOCS}/")
    return inside if inside != path else INCLUDED.get(path)
