"""benchmarks.selection: the choice of points, what is read off curves, and the store that it goes on from."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from approx import Assignment, Choice
from benchmarks import _selection_choice
from benchmarks._selection_choice import beside, choose
from benchmarks._selection_exchange import accuracy_lost
from benchmarks._selection_lab import TUNE
from benchmarks._selection_methods import EXACT, OURS, Method, at_level
from benchmarks._selection_plan import FULL
from benchmarks._selection_retraining import NOT_CHANGED, Retrained, cheapest
from benchmarks._selection_tables import crossing
from benchmarks._store import Store
from benchmarks.selection import merged
from noise_models import Front, FrontPoint
from picojoule.files import read_json, write_json


class FakeLab:
    """Losses and divergences by energy; notes what is measured."""

    def __init__(self, folder, divergences, losses=None):
        self.name, self.seed, self.key, self.plan, self.store = "fake", 0, {}, FULL, Store(folder)
        self.divergences, self.losses, self.measured = divergences, losses, []
        self.exact_network, self.recovery = EXACT, TUNE

    def prepared(self, point, recovery):
        return point

    def divergence(self, network):
        self.measured.append(network.energy)
        return self.divergences[network.energy]

    def loss(self, point, recovery):
        return self.losses[point.energy]


def method_of(energies):
    points = [FrontPoint(e, 1 - e, Assignment({"layer": Choice(f"circuit{e}")})) for e in energies]
    return Method("fake", lambda lab: Front.of("fake", points), TUNE)


@given(st.integers(1, 90), st.integers(0, 90))
def test_the_cheapest_point_within_the_bound_is_chosen(tmp_path_factory, count, broken):
    bound, energies = FULL.largest_loss, [(n + 1) / 100 for n in range(count)]
    lab = FakeLab(
        tmp_path_factory.mktemp("store"), {e: 1.01 * bound if n < broken else bound for n, e in enumerate(energies)}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_selection_choice, "accuracy_lost", lambda lab, divergence: divergence)
        chosen = choose(lab, method_of(energies))
    assert chosen.energy == min((e for e in energies if lab.divergences[e] <= bound), default=EXACT.energy)
    assert len(lab.measured) <= count.bit_length()


def test_a_divergence_is_worth_what_networks_that_have_it_lose(tmp_path):
    energies = [0.30, 0.20, 0.10, 0.05]
    lab = FakeLab(
        tmp_path,
        dict(zip([1.0, *energies], [0.0, 1.0, 2.0, 3.0, 4.0], strict=True)),
        dict(zip(energies, [0.2, 0.8, 0.6, 3.0], strict=True)),
    )
    front = Front.of("fake", [FrontPoint(e, 1 - e, Assignment({"layer": Choice(f"c{e}")})) for e in energies])
    lab.store.value("fronts", {"method": OURS.name, "settings": None}, front.to_json)
    worth = [accuracy_lost(lab, found) for found in (-1.0, 0.0, 0.5, 1.0, 2.0, 2.9, 3.0, 3.5, 4.0, 9.0)]
    assert worth == pytest.approx([0, 0, 0.1, 0.2, 0.7, 0.7, 0.7, 1.85, 3.0, 3.0])  # 0.8 and 0.6 are made monotone


def test_points_that_hardly_differ_in_energy_are_one(tmp_path):
    lab = FakeLab(tmp_path, {})
    lab.plan = replace(FULL, resolution=0.002)
    energies = [p.energy for p in method_of([0.1, 0.1001, 0.1015, 0.11]).points(lab)]
    assert energies == [0.1, 0.11, 1.0]


def test_points_beside_the_chosen_one_are_the_next_that_differ(tmp_path):
    lab, method = FakeLab(tmp_path, {}), method_of([0.1, 0.12, 0.14, 0.15, 0.16, 0.2])
    chosen = method.points(lab)[3]
    assert [p.energy for p in beside(lab, method, chosen)] == [0.12, 0.15, 0.2]
    assert [p.energy for p in beside(lab, method, method.points(lab)[0])] == [0.1, 0.14]


def test_a_level_is_reached_or_exceeded():
    points = [FrontPoint(e, 0.0, Assignment()) for e in (0.1, 0.2, 0.3)]
    assert [at_level(points, saved).energy for saved in (0.95, 0.9, 0.85, 0.7, 0.0)] == [0.1, 0.1, 0.1, 0.3, 0.3]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(80.0, 0.5), (90.0, 1.5)], 85.0),
        ([(90.0, 1.5), (80.0, 0.5)], 85.0),
        ([(70.0, 0.2), (80.0, 0.9)], 80.0),
        ([(80.0, 2.0), (90.0, 3.0)], 0.0),
        ([(70.0, 0.0), (75.0, 2.0), (80.0, 0.5), (90.0, 4.0)], 72.5),
    ],
)
def test_where_a_loss_passes_the_bound(points, expected):
    assert crossing(points, 1.0) == pytest.approx(expected)


def test_without_a_retrained_point_within_the_bound_the_network_stays_exact():
    dear, cheap = (
        Retrained(FrontPoint(e, 0.0, Assignment()), 9.0, 8.0, 7.0, loss) for e, loss in ((0.2, 0.3), (0.1, 0.9))
    )
    assert [cheapest([dear, cheap], bound) for bound in (1.0, 0.3, 0.2)] == [cheap, dear, NOT_CHANGED]


def test_a_measurement_is_made_once_and_depends_on_its_key(tmp_path):
    measured = []

    def measure():
        measured.append(None)
        return {"value": len(measured)}

    store = Store(tmp_path)
    first = [store.value("kind", {"seed": 0, "name": "a"}, measure) for _ in range(2)]
    assert first == [{"value": 1}] * 2 == [Store(tmp_path).value("kind", {"name": "a", "seed": 0}, measure)] * 2
    assert store.value("kind", {"seed": 1, "name": "a"}, measure) == {"value": 2}
    assert store.value("other", {"seed": 0, "name": "a"}, measure) == {"value": 3}


def test_a_failed_measurement_leaves_nothing_behind(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.value("kind", {}, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.network({}, torch.nn.Linear(1, 1), lambda network: 1 / 0)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_measurements_of_one_machine_go_on_at_another(tmp_path):
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    keys = [{"images": (3, 4), "method": name, "seed": seed} for name in ("x", "y") for seed in (0, 1)]
    for value, key in enumerate(keys):
        here.value("cut", key, lambda value=value: {"top-1": value / 7})
    here.value("tuned", {"method": "x"}, lambda: 0.5)
    write_json(here.rows("part", "network"), {"rows": []})
    there.value("cut", keys[0], lambda: "its own")
    here.pack(tmp_path / "all.json")
    there.unpack(tmp_path / "all.json")
    assert [there.value("cut", key, lambda: 1 / 0) for key in keys[1:]] == [{"top-1": n / 7} for n in (1, 2, 3)]
    assert there.value("cut", keys[0], lambda: 1 / 0) == "its own"
    assert there.value("tuned", {"method": "x"}, lambda: 1 / 0) == 0.5
    assert read_json(tmp_path / "all.json")["cut"]["common"] == {"images": [3, 4]}


def test_a_network_is_prepared_once(tmp_path):
    def prepare(network):
        with torch.no_grad():
            network.weight.fill_(7.0)

    def never(network):
        raise AssertionError

    store = Store(tmp_path)
    prepared = store.network({"a": 1}, torch.nn.Linear(3, 2), prepare)
    found = store.network({"a": 1}, torch.nn.Linear(3, 2), never)
    assert all(torch.equal(found.state_dict()[k], v) for k, v in prepared.state_dict().items())
    assert found.weight.unique().tolist() == [7.0]


def test_all_parts_in_the_store_are_merged(tmp_path):
    store = Store(tmp_path)
    for part, network in (("front", "resnet56"), ("cost", "resnet20")):
        write_json(
            store.rows(part, network), {"part": part, "network": network, "rows": [{"case": f"{network} {part}"}]}
        )
    report = merged(store, "python -m benchmarks.selection")
    assert report["parts"] == [{"part": "cost", "network": "resnet20"}, {"part": "front", "network": "resnet56"}]
    assert report["rows"] == [{"case": "resnet20 cost"}, {"case": "resnet56 front"}]
    assert str(tmp_path) not in str(report)
