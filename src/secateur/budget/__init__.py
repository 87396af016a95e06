"""From the network one has to the budget one has: `prune`, what it costs as predicted and as measured, and repair without training."""

from secateur.budget.limits import Budget
from secateur.budget.prune import prune, prune_family
from secateur.budget.record import BudgetError, Record, record_of
from secateur.budget.repair import repair

__all__ = [
    "Budget",
    "BudgetError",
    "Record",
    "prune",
    "prune_family",
    "record_of",
    "repair",
]
