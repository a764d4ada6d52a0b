"""Page templates: HTML from the folder templates, with everything escaped that is put in."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from omop_emb.web.review.reviewer_identity import shown_identity


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("omop_emb.web", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(request: Request, name: str, **values: Any) -> str:
    """The HTML of a template; its links begin with the path at which the application stands."""
    root = request.scope.get("root_path", "")
    query = request.scope["query_string"].decode("latin-1")
    here = request.scope["path"].removeprefix(root) + (f"?{query}" if query else "")
    given = {
        "root": root,
        "here": here,
        "reviewer": shown_identity(request),
    }
    return _environment().get_template(name).render(**given, **values)
