"""What can be wrong with a rule file, each with its place, all at once."""

from models.places import Problem, Refused, closest, cut, listing

__all__ = ["Problem", "RuleErrors", "closest", "cut", "listing"]


class RuleErrors(Refused):
    """A rule set was refused; ``problems`` holds all that is wrong in all files."""
