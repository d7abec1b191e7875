"""What a download would do, found out without doing anything."""

from tcia_covid.plan.compare import compare
from tcia_covid.plan.make import ASSUMED_RATE, plan
from tcia_covid.plan.values import Amount, GroupPlan, Plan
from tcia_covid.summary import Comparison, Difference

__all__ = [
    "ASSUMED_RATE",
    "Amount",
    "Comparison",
    "Difference",
    "GroupPlan",
    "Plan",
    "compare",
    "plan",
]
