"""The page on Spark: its examples run with a real Spark, which needs Java."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from omop_emb import database_engine
from omop_emb.indexing.drop import drop_index
from omop_emb.service import demo
from tests.docs.test_examples import ROOT, run_page
from tests.spark_jobs import skip_without_spark


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_examples_with_spark_run(
    sample_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without_spark()
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vocabulary").symlink_to(demo.SAMPLE)
    engine = database_engine()
    drop_index(engine, "all-MiniLM-L6-v2-hnsw")  # the page imports another one
    engine.dispose()
    run_page(ROOT / "docs/how-to/spark.md", tmp_path)
