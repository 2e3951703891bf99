"""Backtest: replay a rule over the past, with the data as it was known then, and write nothing."""

from beforehand.backtest.replay import backtest
from beforehand.backtest.report import Backtest, Day

__all__ = ["Backtest", "Day", "backtest"]
