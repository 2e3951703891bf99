"""The journal of what was put on the wire, outside the database: a restored one must not say anything twice.

``book`` is what dispatch uses, ``reconciling`` what ``beforehand reconcile`` uses.
"""

from messaging.journal.book import Journal, Number, Restored, place_of
from messaging.journal.files import JournalError
from messaging.journal.marks import identify

__all__ = ["Journal", "JournalError", "Number", "Restored", "identify", "place_of"]
