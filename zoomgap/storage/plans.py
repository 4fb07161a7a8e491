"""Plans of comparisons, stored before the runs that they are for."""

from __future__ import annotations

from zoomgap.records import Plan
from zoomgap.storage import rows
from zoomgap.storage.session import Session


class PlanTables(Session):
    """A plan is never changed: a later one stands beside it."""

    def add_plan(self, plan: Plan) -> None:
        """Raises StoreError for a benchmark that is not stored."""
        names = ("benchmark", "margin", "power", "level", "created")
        self._insert("plans", [rows.columns(**{name: getattr(plan, name) for name in names})])

    def plans(self, benchmark: str) -> list[Plan]:
        """Of a benchmark, oldest first."""
        found = self._all("SELECT * FROM plans WHERE benchmark = ? ORDER BY id", benchmark)
        return [rows.picked(Plan, row) for row in found]
