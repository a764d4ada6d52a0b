"""Service: use cases that the command line and web pages share.

Plain dataclasses come out; no click and no HTTP in here. `diagnose()` is behind `omop-emb doctor`,
`run_demo()` behind `omop-emb demo`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.service.demo import DemoHit as DemoHit, DemoResult as DemoResult, run_demo as run_demo
    from omop_emb.service.doctor import State as State, diagnose as diagnose

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "demo": ("DemoHit", "DemoResult", "run_demo"),
        "doctor": ("State", "diagnose"),
    },
)
