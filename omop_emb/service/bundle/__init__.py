"""Bundle: what mapping needs of a database, as a folder of memory-mapped files for workers without one.

`make_bundle()` writes one from a database, `open_bundle()` maps and searches with it, `check_bundle()` reads
all of it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.service.bundle.bundle_folder import (
        BundleManifest as BundleManifest,
        check_bundle as check_bundle,
    )
    from omop_emb.service.bundle.bundle_maker import make_bundle as make_bundle
    from omop_emb.service.bundle.bundle_reader import Bundle as Bundle, open_bundle as open_bundle

__getattr__, __dir__ = lazy_names(__name__)
