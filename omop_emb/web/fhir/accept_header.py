"""Accept headers: what a client takes, the best first."""

from __future__ import annotations

from contextlib import suppress


def accepted(header: str) -> list[str]:
    """The entries of Accept or Accept-Language without parameters, the best first; none of weight 0."""
    weighted: list[tuple[float, str]] = []
    for entry in header.split(","):
        name, *parameters = (text.strip() for text in entry.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                with suppress(ValueError):
                    weight = float(value)
        if name and weight > 0:
            weighted.append((-weight, name))
    return [name for _, name in sorted(weighted, key=lambda entry: entry[0])]
