"""Fair comparisons: settings of a method under which the LLM reads as many visual tokens on average as another."""

from __future__ import annotations

from pinhole.budget import Keep
from pinhole.layer_method import LayerMethod

_TOKENS = 100_000
_STEPS = 10_000


def average_share(method: LayerMethod, layers: int) -> float:
    """The share of visual tokens alive on average over an LLM's layers, but for rounding to whole tokens."""
    return method.budget(_TOKENS, _TOKENS, layers).average / _TOKENS


def matched(method: LayerMethod, keep: Keep, layers: int, entering: Keep | None = 1.0) -> LayerMethod:
    """The mildest settings, to four decimals, under which no more than `keep` of the tokens are alive on average.

    A method that drops nine of ten tokens in front of layer 2 of 32 still costs 16 % of the work, not 10 %.

    Args:
        method: whose other settings stay.
        keep: share of the visual tokens, the mean over layers.
        layers: of the LLM.
        entering: the share that a method at the LLM's input leaves.

    Raises:
        ValueError: no shares, or the layers in front of its first cut alone cost more than that.
    """
    if not (isinstance(keep, float) and isinstance(entering, float)):
        raise ValueError(f"budgets are matched at shares such as 0.1, got keep={keep} and {entering} at the input")
    least = average_share(method.at(1 / _STEPS, layers), layers) * entering
    if least > keep:
        raise ValueError(
            f"{method.name} leaves {100 * least:.1f} % of the visual tokens on average over {layers} layers even where "
            f"it drops all it can: an average of {100 * keep:.1f} % needs cuts in earlier layers"
        )
    low, high = 1, _STEPS + 1
    while high - low > 1:
        middle = (low + high) // 2
        if average_share(method.at(middle / _STEPS, layers), layers) * entering <= keep:
            low = middle
        else:
            high = middle
    return method.at(low / _STEPS, layers)
