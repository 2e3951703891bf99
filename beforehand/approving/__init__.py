"""Held runs for those on duty: what waits, what it would do, the answer of a second person, and what follows from it.

The command line, the flows and the pages call this. The rows are the truth; whatever window asks is only a window.
"""

from beforehand.approving.answering import NotAllowed, answer, held_run, note_window, open_runs, windows
from beforehand.approving.looks import Looks
from beforehand.approving.question import Question, question_of
from beforehand.approving.watching import WatchReport, watch, watch_once
from messaging.held import HeldRunView

__all__ = [
    "HeldRunView",
    "Looks",
    "NotAllowed",
    "Question",
    "WatchReport",
    "answer",
    "held_run",
    "note_window",
    "open_runs",
    "question_of",
    "watch",
    "watch_once",
    "windows",
]
