"""Acts on a simulated account that scenarios are made of: files that arrive, and a function that fails."""

from collections.abc import Callable
from typing import Any

from dev.simulator.world import Execution, Function, World

MB = 1024**2
DAY = "2025-12-23"
NEXT_DAY = "2025-12-24"
LIMIT_30_MB = {"MAX_BATCH_SIZE_GB": "0.029296875"}
"""The environment of functions whose manifests have at most 30 MB."""


def ten_mb_files(world: World, number: int, *, day: str = DAY, folder: str = "a") -> list[dict[str, str]]:
    return [
        world.upload(f"{folder}/{day}-file{index:03}.ndjson", 10 * MB, message_id=f"{folder}-{day}-{index}")
        for index in range(number)
    ]


def deliver(number: int, **where: str) -> Callable[[World], Execution]:
    return lambda world: world.deliver(*ten_mb_files(world, number, **where))


def failing(state: str, act: Callable[[World], Execution], after: bool = False) -> Callable[[World], Execution]:
    """Run `act` with a function that fails each time: before it does anything, or with its answer lost."""

    def around(function: Function, event: dict[str, Any]) -> Any:
        if after:
            function(event, None)
        raise RuntimeError(f"{state} broke")

    def with_failure(world: World) -> Execution:
        world.around[state] = around
        try:
            return act(world)
        finally:
            del world.around[state]

    return with_failure
