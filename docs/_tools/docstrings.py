"""Docstrings as Markdown and mkdocstrings understand them."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":\w+:`(?P<short>~)?(?P<path>[^`]+)`")
_SECTION = re.compile(r"^(?P<indent> *)(Parameters|Attributes)\n(?P=indent)-+\n(?P<body>(?:(?!\n *\n).)*)", re.M | re.S)
_TYPE = re.compile(r"(int|float|str|bool|array|ArrayLike|path|None|callable|sequence|dict|list|tuple|\{)\b")


class Docstrings(griffe.Extension):
    """Rewrite every docstring when it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            text = _ROLE.sub(_plain, obj.docstring.value)
            obj.docstring.value = _SECTION.sub(_described, text)


def _plain(role: re.Match[str]) -> str:
    """Write a role of Sphinx (:func:`fit`) as code, which is what Markdown has for it."""
    path = role["path"]
    return f"`{path.rpartition('.')[2] if role['short'] else path}`"


def _described(section: re.Match[str]) -> str:
    """Move what stands behind "name :" below it, unless it is a type. Types come from the annotations."""
    lines = []
    for line in section[0].split("\n"):
        name, colon, text = line.partition(" : ")
        starts = colon and line.startswith(section["indent"]) and line[len(section["indent"])] != " "
        if starts and not _TYPE.match(text):
            lines += [name, f"{section['indent']}    {text}"]
        else:
            lines.append(line)
    return "\n".join(lines)
