"""The rule engine. Rule files are in ``catalog/``; the engine reads any such folder."""
