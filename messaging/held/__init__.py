"""Held runs: what the brake stopped, and how it goes on once a second person has said yes, or ends.

The rows are the truth: ``held_run`` says where a run stands, and ``match.held_run_id`` is its list, fixed by the hold.
"""

from messaging.held.runs import HeldRunView

__all__ = ["HeldRunView"]
