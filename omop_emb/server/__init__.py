"""Embedded server: a PostgreSQL with pgvector that runs from a Python wheel.

`ensure_running()` makes and starts it, `status()` and `stop()` do what they say. Data, socket and log lie in
one folder, which belongs to one user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.server.supervisor import ensure_running as ensure_running, status as status, stop as stop

__getattr__, __dir__ = lazy_names(__name__)
