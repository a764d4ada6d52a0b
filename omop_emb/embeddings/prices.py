"""Prices: what models cost, from data/models.toml or a file of the user's own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omop_emb import config
from omop_emb.embeddings.models import find_model, known_models, named_model, other_prices
from omop_emb.errors import ConfigurationError
from omop_emb.providers.usage import Usage
from omop_emb.safe_files.foreign_errors import foreign_errors
from omop_emb.safe_files.foreign_text import read_text

_MOST_DOLLARS = 1e9
_NUMBERS = ("price", "batch_price", "image_price", "audio_price")
_FIELDS = (*_NUMBERS, "price_date", "price_source")


@dataclass(frozen=True)
class Price:
    """What a model costs, in US dollars per million tokens."""

    model: str  # provider:model
    standard: float  # for texts that are answered at once
    batch: float | None  # for texts sent to its batch API; None where it has none
    date: str  # the day of this list price, as YYYY-MM-DD; "" if unknown
    source: str  # where it was found; for a price of the user's own, that file unless it says otherwise
    image: float | None = None  # for tokens of images and PDF pages; None where they cost what text does
    audio: float | None = None  # for tokens of recordings, likewise


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
    if price is None:
        return None
    return usage.cost(
        price.standard,
        price.batch,
        image_price_per_million=price.image,
        audio_price_per_million=price.audio,
    )


def price_list() -> list[Price]:
    """Every known price, those of the user's own file in place of the listed ones.

    Raises:
        ConfigurationError: the file that OMOP_EMB_PRICES names cannot be used.
    """
    path = config.variable("OMOP_EMB_PRICES")
    own = [] if path is None else _own_prices(Path(path).expanduser())
    own_names = {price.model for price in own}
    listed = [
        Price(
            known.name,
            known.price,
            known.batch_price,
            known.price_date,
            known.price_source,
            image=known.image_price,
            audio=known.audio_price,
        )
        for known in known_models()
        if known.price is not None and not own_names & {known.name, *known.aliases}
    ]
    listed += [
        Price(entry["name"], entry["price"], None, entry["price_date"], entry["price_source"])
        for entry in other_prices()
        if entry["name"] not in own_names
    ]
    return [*own, *listed]


def _own_prices(path: Path) -> list[Price]:
    name = f"{path} (OMOP_EMB_PRICES)"
    text = read_text(path, kind=ConfigurationError, name=name)
    with foreign_errors(name, "is not a TOML file in UTF-8", ConfigurationError):
        entries = tomllib.loads(text).get("model", [])
    if not isinstance(entries, list):
        raise ConfigurationError(f"{name}: each [[model]] needs name and price")
    return [_price(entry, path) for entry in entries]


def _price(entry: Any, path: Path) -> Price:
    problem = f"{path} (OMOP_EMB_PRICES): each [[model]] needs name and price"
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or "price" not in entry:
        raise ConfigurationError(problem)
    unknown = sorted(entry.keys() - {"name", *_FIELDS})
    if unknown:
        raise ConfigurationError(f"{problem}, and may have {', '.join(_FIELDS)}; found {unknown[0]!r}")
    for name in _NUMBERS:
        value = entry.get(name, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST_DOLLARS:
            raise ConfigurationError(
                f"{path} (OMOP_EMB_PRICES): {name} of {entry['name']} must be US dollars per million tokens; "
                f"found {str(value)[:20] if isinstance(value, str | float) else type(value).__name__}"
            )
    return Price(
        entry["name"],
        float(entry["price"]),
        float(entry["batch_price"]) if "batch_price" in entry else None,
        str(entry.get("price_date", "")),
        str(entry.get("price_source", path)),
        image=float(entry["image_price"]) if "image_price" in entry else None,
        audio=float(entry["audio_price"]) if "audio_price" in entry else None,
    )
