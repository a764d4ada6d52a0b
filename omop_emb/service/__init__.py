"""Service: use cases that the command line and web pages share; they return plain dataclasses.

`run_demo()` is behind `omop-emb demo`, `diagnose()` behind `omop-emb doctor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.service.demo import DemoHit as DemoHit, DemoResult as DemoResult, run_demo as run_demo
    from omop_emb.service.doctor import Finding as Finding, State as State, diagnose as diagnose

__getattr__, __dir__ = lazy_names(__name__)
