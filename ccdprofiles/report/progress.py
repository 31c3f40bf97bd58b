"""Progress bars of a run."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["progress_bar"]


def progress_bar(phase: str, total: int) -> Callable[[], None]:
    """Show a bar on a terminal, and return a function that advances it by one.

    Parameters
    ----------
    phase : str
        The label of the bar.
    total : int
        How many steps there are.
    """
    from tqdm.auto import tqdm

    bar = tqdm(total=total, desc=phase, unit="", disable=None, leave=True)

    def step() -> None:
        bar.update()
        if bar.n >= total:
            bar.close()

    if total == 0:
        bar.close()
    return step
