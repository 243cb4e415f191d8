"""The settings that are searched: methods x keeps, as far as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pinhole.budget import Keep
from pinhole.decide import check_plan
from pinhole.evaluation.contender import Contender, contenders, parse_specs
from pinhole.families.base import Family
from pinhole.method import Learned
from pinhole.registry import method_class, method_names, required_of

KEEPS: tuple[Keep, ...] = (0.5, 0.25, 0.1, 0.05)
_NOT_SEARCHED = ("full", "random")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A setting, as a user writes it and ready to use.

    Attributes:
        method: specification, such as "fastv:layer=2".
        keep: share or count that is given with it.
        contender: what they make.
    """

    method: str
    keep: Keep
    contender: Contender


def default_methods() -> list[str]:
    """Every method that needs neither training nor a setting, but for sampling at random."""
    kinds = {name: method_class(name) for name in method_names() if name not in _NOT_SEARCHED}
    return [name for name, kind in kinds.items() if not issubclass(kind, Learned) and not required_of(kind)]


def candidates(
    methods: Sequence[str], keeps: Sequence[Keep], family: Family
) -> tuple[list[Candidate], list[dict[str, str]]]:
    """Every method at every keep, and what cannot be built for this model, with the reason.

    What comes out the same twice is there once, and so is what is at its default where a method takes no keep.

    Args:
        methods: as `parse_specs` reads them.
        keeps: shares or counts.
        family: of the model.

    Raises:
        ValueError: a specification that cannot be read, or nothing that can be built.
    """
    for text in methods:
        parse_specs(text)
    found: dict[str, Candidate] = {}
    refused = []
    for text in methods:
        try:
            for keep in keeps:
                [contender] = contenders([text], [keep], family.shape)
                check_plan(contender.plan, family)
                if contender.name != "full":
                    found.setdefault(contender.key, Candidate(text, keep, contender))
        except (ValueError, TypeError) as error:
            refused.append({"method": text, "reason": str(error)})
    if not found:
        raise ValueError(
            f"no setting to search: {'; '.join(one['reason'] for one in refused) or 'full is the reference'}"
        )
    return list(found.values()), refused
