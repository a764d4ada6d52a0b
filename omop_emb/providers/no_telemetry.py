"""No telemetry: libraries that report their use to their makers, imported so that they do not."""

from __future__ import annotations

from typing import Any

from omop_emb import config


def import_onnxruntime() -> Any:
    """onnxruntime, which from version 1.32 on would report each session.

    Its import alone would write an id of this machine to ~/.cache/Microsoft, so its variable is set first.
    """
    config.no_telemetry()
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # another module may have imported it before
    return onnxruntime


def import_huggingface_hub() -> Any:
    """huggingface_hub, which would tell the hub in each request which program uses it."""
    config.no_telemetry()
    import huggingface_hub
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True
    return huggingface_hub
