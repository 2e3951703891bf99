"""Readers: each turns one kind of source into frames of text columns with ``@file`` and ``@line``."""
