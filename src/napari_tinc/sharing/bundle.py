"""Many JavaScript modules as one script: in a page that lies on a disk, a browser loads no module from another file.

Each module becomes a function that runs once and returns what it exports. Imports and exports have to be of the forms
that ``docs/viewer/`` has: static, and of names. Others are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from posixpath import dirname, join, normpath

_NAMES = r"\{([^}]*)\}"
_FROM = r"\s*from\s*['\"]([^'\"]+)['\"];?[ \t]*$"
_IMPORT = re.compile(
    rf"^import\s+(?:(?:{_NAMES}|\*\s+as\s+(\w+))\s*from\s*)?['\"]([^'\"]+)['\"];?[ \t]*$", re.MULTILINE
)
_PASSED_ON = re.compile(rf"^export\s+{_NAMES}{_FROM}", re.MULTILINE)
_LIST = re.compile(rf"^export\s+{_NAMES};?[ \t]*$", re.MULTILINE)
_EXPORTED = re.compile(r"^export\s+(?=(?:async\s+)?(?:function\b\*?|class|const)\s+(\w+))", re.MULTILINE)
_TAKEN_APART = re.compile(r"^export\s+(?=const\s+\[([\w\s,]+)\]\s*=)", re.MULTILINE)
_UNKNOWN = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def bundle(modules: Mapping[str, str], page: str, worker: str) -> str:
    """Join modules to one script that a page and its workers run alike.

    Parameters
    ----------
    modules : the text of each module by its path, such as ``app/main.js``.
    page : the path of the module that a page runs.
    worker : the path of the module that a worker runs. What only the page needs is not run there.

    Raises
    ------
    ValueError
        If a module is missing, or has an import or export of another form.
    """
    of_worker = list(_ordered(modules, worker, ()))
    of_both, of_page = of_worker[:-1], [path for path in _ordered(modules, page, ()) if path not in of_worker]
    names = {path: f"module{number}" for number, path in enumerate([*of_worker, *of_page])}
    joined = {path: _as_function(modules[path], path, names) for path in names}
    return (
        f"(() => {{\n'use strict';\n{''.join(joined[path] for path in of_both)}"
        f"if (typeof document === 'undefined') {{\n{joined[worker]}}} else {{\n"
        f"{''.join(joined[path] for path in of_page)}}}\n}})();\n"
    )


def _ordered(modules: Mapping[str, str], path: str, above: tuple[str, ...]) -> Iterator[str]:
    """Give the paths of a module and of all that it imports, once each, what is needed first."""
    if path in above:
        raise ValueError(f"modules import each other: {' -> '.join([*above, path])}")
    if path not in modules:
        raise ValueError(f"{above[-1] if above else 'the page'} needs {path}, which is not there")
    seen: set[str] = set()
    targets = [match[3] for match in _IMPORT.finditer(modules[path])]
    for target in [*targets, *(match[2] for match in _PASSED_ON.finditer(modules[path]))]:
        for each in _ordered(modules, _resolved(path, target), (*above, path)):
            if each not in seen:
                seen.add(each)
                yield each
    yield path


def _as_function(text: str, path: str, names: Mapping[str, str]) -> str:
    """Write a module as a function; ``names`` has the variable of each module."""
    exported: list[str] = []

    def of(target: str) -> str:
        return names[_resolved(path, target)]

    def imported(match: re.Match[str]) -> str:
        some, all_of_it, target = match.groups()
        if all_of_it:
            return f"const {all_of_it} = {of(target)};"
        return f"const {{{some.replace(' as ', ': ')}}} = {of(target)};" if some else ""

    def passed_on(match: re.Match[str]) -> str:
        exported.extend(f"{outer}: {of(match[2])}.{inner}" for inner, outer in _pairs(match[1]))
        return ""

    def listed(match: re.Match[str]) -> str:
        exported.extend(f"{outer}: {inner}" for inner, outer in _pairs(match[1]))
        return ""

    def declared(match: re.Match[str]) -> str:
        exported.append(match[1])
        return ""

    for pattern, change in (
        (_IMPORT, imported), (_PASSED_ON, passed_on), (_LIST, listed), (_EXPORTED, declared), (_TAKEN_APART, listed),
    ):  # fmt: skip
        text = pattern.sub(change, text)
    if left := _UNKNOWN.search(text):
        raise ValueError(f"{path} has {left[0]!r}, which cannot be joined with other modules")
    body = text.strip("\n")
    result = f"return {{{', '.join(exported)}}};\n" if exported else ""
    return f"const {names[path]} = (() => {{\n{body}\n{result}}})();\n"


def _resolved(path: str, target: str) -> str:
    """Return the path of a module that another names relative to itself."""
    return normpath(join(dirname(path), target))


def _pairs(names: str) -> Iterator[tuple[str, str]]:
    """Give the names of a list such as ``a, b as c``, inside of a module and outside."""
    for name in filter(None, (each.strip() for each in names.split(","))):
        inner, _, outer = name.partition(" as ")
        yield inner, outer.strip() or inner
