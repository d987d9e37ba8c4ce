"""Units of a layer's axes, as pint knows them."""

from __future__ import annotations

from collections.abc import Sequence


def known_unit(unit: object, of: str = "meter") -> str | None:
    """Return pint's name of a unit of length, or of another kind; None for pixels and for what pint does not know."""
    import pint

    if not unit:
        return None
    registry = pint.get_application_registry()
    try:
        parsed = registry.Unit(str(unit))
        return str(parsed) if parsed.is_compatible_with(of) else None
    except Exception:  # pint's parser raises errors of many kinds.
        return None


def factors_to(units: Sequence[object], name: str) -> list[float] | None:
    """Return how many of the unit ``name`` each unit is; None if they cannot be compared."""
    import pint

    registry = pint.get_application_registry()
    try:
        return [float(registry.Quantity(1, str(unit)).to(name).magnitude) for unit in units]
    except pint.errors.PintError:
        return None
