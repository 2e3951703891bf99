"""Data in: reads the sources of a mapping file and upserts them, losing nothing silently."""

from beforehand.ingest.load import bucket_of
from beforehand.ingest.report import IngestReport
from beforehand.ingest.run import run
from beforehand.ingest.tree import MappingErrors

__all__ = ["IngestReport", "MappingErrors", "bucket_of", "run"]
