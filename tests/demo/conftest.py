"""A desk on the embedded LVLM, and pictures to bring there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinhole.demo.desk import Desk
from pinhole.demo.host import Host
from pinhole.demo.limits import Limits
from pinhole.demo.offers import Offers
from pinhole.demo.visitors import Choice
from pinhole.scenes.world import make_scene, render


@pytest.fixture(scope="session")
def host(embedded):
    model, processor = embedded
    return Host(model, processor, "embedded", limits=Limits(answer=6, turns=3, conversations=2, question=60))


@pytest.fixture(scope="session")
def offers(host):
    return Offers(host.family)


@pytest.fixture
def desk(host, offers):
    return Desk(host, offers, has_examples=True)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> list[Path]:
    """Files of three scenes."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{index}.png" for index in range(3)]
    for index, path in enumerate(paths):
        render(make_scene("validation", index)).save(path)
    return paths


@pytest.fixture
def choice(pictures):
    return Choice(pictures[0], "DivPrune", 0.1)
