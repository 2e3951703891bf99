"""The tests in rule files, run: each with its own clock, zone and small database, by the real decisions. No network."""

from beforehand.proving.prover import Outcome, Prover, Report, Unread, prove_files
from beforehand.proving.side_by_side import prove_all
from rules.loader import rule_files

__all__ = ["Outcome", "Prover", "Report", "Unread", "prove_all", "prove_files", "rule_files"]
