"""What a loop may store, and the error of one that would store more."""

from __future__ import annotations

from clew.core.errors import MemoryLimitError
from clew.core.memory import available_memory, readable
from clew.loops.spec import Policy

AUTO_BYTES = 2**26
"""What ``checkpoint="auto"`` may keep if ``memory`` does not say: 64 MiB."""


class Budget:
    """What a loop may store: its policy's ``memory``, or else what the machine has."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._checked = 0

    def require(self, needed: int, what: str, per_step: int = 0) -> None:
        """Raise if ``needed`` bytes are more than there may be; asks the machine rarely."""
        if self._policy.memory is None and needed < self._checked + 2**26:
            return
        allowed = available_memory() if self._policy.memory is None else self._policy.memory
        self._checked = needed
        if needed <= allowed:
            return
        source = "the machine has" if self._policy.memory is None else "memory= allows"
        raise MemoryLimitError(
            f"{self._policy.spelling}: {what} takes {readable(needed)}, "
            f"{source} {readable(allowed)}: {readable(needed - allowed)} too much",
            self._advice(allowed, per_step),
            self._policy.where or None,
        )

    def _advice(self, allowed: int, per_step: int) -> str:
        if self._policy.checkpoint is not None:
            return (
                "pass a larger memory= or fewer snapshots; second derivatives keep the bound "
                "with clew.hvp (forward over reverse), not as a gradient of a gradient"
            )
        fitting = max(1, allowed // (2 * per_step)) if per_step else 0
        setting = f'checkpoint="auto" or checkpoint={fitting}' if fitting else 'checkpoint="auto"'
        return (
            f"pass {setting}, which keeps snapshots and recomputes between them, "
            "or a larger memory="
        )
