"""Prices: what models cost, from data/models.toml or a file of the user's own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omop_emb import config
from omop_emb.embeddings.models import find_model, known_models, named_model
from omop_emb.errors import ConfigurationError
from omop_emb.providers.usage import Usage

_FIELDS = ("price", "batch_price", "price_date", "price_source")


@dataclass(frozen=True)
class Price:
    """What a model costs, in US dollars per million tokens."""

    model: str  # provider:model
    standard: float  # for texts that are answered at once
    batch: float | None  # for texts sent to its batch API; None where it has none
    date: str  # the day of this list price, as YYYY-MM-DD; "" if unknown
    source: str  # where it was found; for a price of the user's own, that file unless it says otherwise


def money(dollars: float) -> str:
    """US dollars for a person."""
    return f"{dollars:,.2f} USD" if dollars >= 0.01 or not dollars else "less than 0.01 USD"


def price_of(model: str) -> Price | None:
    """The price of provider:model; None if it is free or its price unknown.

    Only what that provider charges counts: behind another one the same model costs something else.
    """
    prices = price_list()
    known, provider = find_model(model), model.partition(":")[0]
    same = [
        price
        for price in prices
        if known is not None
        and price.model.partition(":")[0] == provider
        and named_model(price.model) is known
    ]
    return next((price for price in prices if price.model == model), same[0] if same else None)


def cost_of(model: str, usage: Usage) -> float | None:
    """The cost of a model's usage in US dollars; None if it is free or its price unknown."""
    price = price_of(model)
    return None if price is None else usage.cost(price.standard, price.batch)


def price_list() -> list[Price]:
    """Every known price, those of the user's own file in place of the listed ones.

    Raises:
        ConfigurationError: the file that OMOP_EMB_PRICES names cannot be used.
    """
    path = config.variable("OMOP_EMB_PRICES")
    own = [] if path is None else _own_prices(Path(path).expanduser())
    own_names = {price.model for price in own}
    listed = [
        Price(known.name, known.price, known.batch_price, known.price_date, known.price_source)
        for known in known_models()
        if known.price is not None and not own_names & {known.name, *known.aliases}
    ]
    return [*own, *listed]


def _own_prices(path: Path) -> list[Price]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("model", [])
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problem = f"is not a TOML file in UTF-8: {error}"
    else:
        return [_price(entry, path) for entry in entries]
    raise ConfigurationError(f"OMOP_EMB_PRICES names {path}, which {problem}")


def _price(entry: Any, path: Path) -> Price:
    problem = f"{path} (OMOP_EMB_PRICES): each [[model]] needs name and price"
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or "price" not in entry:
        raise ConfigurationError(problem)
    unknown = sorted(entry.keys() - {"name", *_FIELDS})
    if unknown:
        raise ConfigurationError(f"{problem}, and may have {', '.join(_FIELDS)}; found {unknown[0]!r}")
    for name in ("price", "batch_price"):
        value = entry.get(name, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise ConfigurationError(
                f"{path} (OMOP_EMB_PRICES): {name} of {entry['name']} must be US dollars per million tokens; "
                f"found {value!r}"
            )
    return Price(
        entry["name"],
        float(entry["price"]),
        float(entry["batch_price"]) if "batch_price" in entry else None,
        str(entry.get("price_date", "")),
        str(entry.get("price_source", path)),
    )
