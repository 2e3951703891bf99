"""``beforehand doctor``: one line a check, each with what to do. Nothing is sent, and nothing is written."""

from beforehand.doctor.check import Check, Verdict
from beforehand.doctor.examination import Asked, examine

__all__ = ["Asked", "Check", "Verdict", "examine"]
