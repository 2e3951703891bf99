"""The tests in rule files, run: each with its own clock, zone and small database, by the real decisions. No network."""

from beforehand.proving.prover import Outcome, Prover, Report, Unread, prove_files, rule_files
from beforehand.proving.side_by_side import prove_all

__all__ = ["Outcome", "Prover", "Report", "Unread", "prove_all", "prove_files", "rule_files"]
