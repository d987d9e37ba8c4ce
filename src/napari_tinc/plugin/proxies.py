"""Replace napari's proxies by the real objects before they reach the plugin.

napari's menus, palette and dock widgets hand out a proxy of the viewer. Layers that are reached through it are proxies
too: they fail ``isinstance``, are not ``in`` a layer list, and a weak reference to one dies at once. So every callable
that napari.yaml names is decorated with :func:`unproxied`. tests/plugin/test_every_entry.py fails for one that is not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__napari_tinc_unproxied__"  # The attribute of functions that were decorated.


def unwrap_proxy(thing: Any) -> Any:
    """Return the object behind a napari proxy. Anything else is returned as it is."""
    from napari.utils._proxies import PublicOnlyProxy

    while isinstance(thing, PublicOnlyProxy):
        thing = thing.__wrapped__
    return thing


def unproxied(function: F) -> F:
    """Decorate a command, reader, writer or widget's ``__init__`` so that its arguments are never napari proxies."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(
            *map(unwrap_proxy, args), **{name: unwrap_proxy(value) for name, value in kwargs.items()}
        )  # fmt: skip

    setattr(call, _MARK, True)
    return call  # type: ignore[return-value]


def is_unproxied(contribution: Callable[..., Any]) -> bool:
    """Tell whether a function, or a widget class by its ``__init__``, was decorated with :func:`unproxied`."""
    function = contribution.__init__ if isinstance(contribution, type) else contribution  # type: ignore[misc]
    return getattr(function, _MARK, False)
