"""The record: what was measured, in tables with a settled schema, in memory and on disk.

It imports no torch, so that reports can be made where torch is not installed.
"""

from __future__ import annotations

from gradflow.record.container import Record
from gradflow.record.metadata import META, Meta, mask_paths, validate_meta
from gradflow.record.reference import schema_markdown
from gradflow.record.schema import SCHEMA_VERSION, TABLES, Column, conform, empty, stack
from gradflow.record.storage import find_records, is_record, load_record

__all__ = [
    "META",
    "SCHEMA_VERSION",
    "TABLES",
    "Column",
    "Meta",
    "Record",
    "conform",
    "empty",
    "find_records",
    "is_record",
    "load_record",
    "mask_paths",
    "schema_markdown",
    "stack",
    "validate_meta",
]
