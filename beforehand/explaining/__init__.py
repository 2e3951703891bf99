"""Why somebody got a message, or did not: the rules as they are asked, the gates, and what is stored of the past."""

from beforehand.explaining.asking import explain, explain_one
from beforehand.explaining.people import UnknownCustomer
from beforehand.explaining.report import Explanation

__all__ = ["Explanation", "UnknownCustomer", "explain", "explain_one"]
