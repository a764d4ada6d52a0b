"""What commands import, imported once: each killed process is a fork of one that did."""

import pkgutil
from importlib import import_module

import openpyxl
import pandas
import psycopg
import pyarrow.parquet
import scipy.sparse
import sqlalchemy.dialects.postgresql.psycopg

import omop_emb.indexing.build
import omop_emb.mapping.file_job.job
import omop_emb.mapping.training.site_training
import omop_emb.vocabulary.loader
import omop_emb.web.app
import omop_emb.web.startup
from tests.attack import steps

_cli = import_module("omop_emb.cli")
for _module in pkgutil.iter_modules(_cli.__path__):
    import_module(f"omop_emb.cli.{_module.name}")
main = import_module("omop_emb.cli.main").main

__all__ = ["main", "omop_emb", "openpyxl", "pandas", "psycopg", "pyarrow", "scipy", "sqlalchemy", "steps"]
