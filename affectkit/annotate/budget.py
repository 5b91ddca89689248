"""How often models may be asked in one run, and what that may cost. Imports no torch."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affectkit.files import Json
from affectkit.messages import Message


class BudgetSpent(Exception):
    """The calls or the cost that were allowed are spent."""


@dataclass
class Budget:
    """How often models may be asked, and what it may cost; None is no bound."""

    calls: int | None = None
    cost: float | None = None
    spent_calls: int = 0
    spent_cost: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self) -> None:
        """Count a call before it is sent. Raises BudgetSpent where none is left."""
        with self._lock:
            over = self.calls is not None and self.spent_calls >= self.calls
            if over or (self.cost is not None and self.spent_cost >= self.cost):
                raise BudgetSpent
            self.spent_calls += 1

    def pay(self, cost: float) -> None:
        """Count what a call cost."""
        with self._lock:
            self.spent_cost += cost

    def summary(self) -> str:
        """What was spent so far, in a few words."""
        cost = f", cost {self.spent_cost:.4g}" if self.spent_cost else ""
        return f"{self.spent_calls} calls{cost}"


class BoundClient:
    """A client whose calls come out of a budget; all else is the client's own."""

    def __init__(self, client: Any, budget: Budget) -> None:
        self.client, self.budget = client, budget

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def ask(self, messages: Sequence[Message], *schema: Mapping[str, Json] | None) -> str:
        """The client's reply. Raises BudgetSpent before it is asked."""
        self.budget.take()
        text: str = self.client.ask(messages, *schema)
        self.budget.pay(float(getattr(text, "cost", 0.0)))
        return text


class NotAsked(Exception):
    """A question that would have been sent."""


class SilentClient(BoundClient):
    """A client that asks nobody: it keeps what it would have asked."""

    def __init__(self, client: Any) -> None:
        super().__init__(client, Budget())
        self.questions: list[Sequence[Message]] = []

    def ask(self, messages: Sequence[Message], *schema: Mapping[str, Json] | None) -> str:
        """Raises NotAsked."""
        self.questions.append(messages)
        raise NotAsked
