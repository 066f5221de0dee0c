"""What a fit costs before it is run: time, memory and network, from sizes and a machine."""

from longtail.costs.calibrate import calibrate
from longtail.costs.estimate import CostEstimate, Shards
from longtail.costs.machine import MACHINES, Machine, find_machine
from longtail.costs.plan import CostPlan, plan_cost
from longtail.costs.work import Work
from longtail.costs.workload import Workload

__all__ = [
    "MACHINES",
    "CostEstimate",
    "CostPlan",
    "Machine",
    "Shards",
    "Work",
    "Workload",
    "calibrate",
    "find_machine",
    "plan_cost",
]
