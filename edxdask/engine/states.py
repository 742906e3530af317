"""Handle of the arrays that are kept beside the photons: what a step leaves there has a name.

Per-pixel arrays of a large map stay in the partitions, where steps change them. Whoever makes such arrays
gets a ``PixelStates`` and passes it on; once the partitions hold something else, it raises an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edxdask.engine.step import StateChange, StateMaker

if TYPE_CHECKING:
    from edxdask.engine.problem import Problem


@dataclass(frozen=True, eq=False)
class PixelStates:
    """The states of all partitions of a problem, as they are now.

    Attributes
    ----------
    problem : the problem that holds their photons
    version : of the executor's states
    """

    problem: Problem
    version: int

    @classmethod
    def made(cls, problem: Problem, make: StateMaker) -> PixelStates:
        """Give every partition of ``problem`` the state that ``make`` returns for it."""
        problem.executor.start(make)
        return cls.now(problem)

    @classmethod
    def now(cls, problem: Problem) -> PixelStates:
        """Make the handle of the states that a step has just left."""
        return cls(problem, problem.executor.version)

    def changed(self, alter: StateChange) -> PixelStates:
        """Replace every state by ``alter(partition, state)``; this handle is void after that."""
        self.check()
        self.problem.executor.change(alter)
        return PixelStates.now(self.problem)

    def collect(self, ask: Callable[..., Any], *args: Any) -> Iterator[Any]:
        """Yield ``ask(partition, state, *args)`` for every partition, in order."""
        self.check()
        return self.problem.executor.collect(ask, *args)

    def check(self) -> None:
        """Refuse a handle if its states are gone.

        Raises
        ------
        RuntimeError
            If the partitions hold other states by now.
        """
        if self.version != self.problem.executor.version:
            raise RuntimeError(
                f"states of version {self.version} are gone, the partitions hold version "
                f"{self.problem.executor.version}: use the handle that the last step returned"
            )
