"""Data in: reads the sources of a mapping file and upserts them, losing nothing silently."""
