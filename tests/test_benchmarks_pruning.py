"""benchmarks.pruning: which methods are fine-tuned, and what is said of the best ones."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import pruning
from benchmarks import pruning as benchmark
from benchmarks._pruning_lab import Case
from benchmarks._pruning_methods import ONE_SHOT, Job, Method, Remembered, methods, seen
from benchmarks._pruning_oracle import agreement, fidelity_rows, scores, true_importance
from benchmarks._pruning_picture import draw
from benchmarks._pruning_plan import FULL
from picojoule.models import make_model


def _never(job):
    raise AssertionError("nothing is cut here")


OURS = [Method(name, _never) for name in ("a, global", "a, local", "b, global", "c, global", "d, global")]
PEERS = [Method(name, _never, is_peer=True) for name in ("peer, x", "peer, y")]


class FakeBench:
    """Validation accuracies by method; test accuracies are those of a seed, turned round."""

    plan = FULL

    def __init__(self, cuts, tuned):
        self.cuts, self.accuracies, self.asked = cuts, tuned, []

    def cut(self, case, method):
        self.asked.append((case.network, case.seed, method.name))
        return {"validation": self.cuts[method.name], "macs": case.macs}

    def tuned(self, case, method):
        value = self.accuracies[method.name]
        return {"validation": value, "tuned": 1 - value + 0.01 * case.seed, "one_shot": 0.1, "reestimated": 0.5}


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(benchmark, "methods", lambda: (*OURS, *PEERS))
    cuts = {
        "a, global": 0.3,
        "a, local": 0.4,
        "b, global": 0.2,
        "c, global": 0.1,
        "d, global": 0.0,
        "peer, x": 0,
        "peer, y": 0,
    }
    tuned = {"a, local": 0.5, "b, global": 0.6, "c, global": 0.7, "d, global": 0.8, "peer, x": 0.55, "peer, y": 0.65}
    return FakeBench(cuts, tuned)


def names(methods):
    return [method.name for method in methods]


def rows_of(bench, network, macs, seeds=2):
    return list(
        benchmark._budget_rows(f"{network}, {macs:.0%} MACs", 1, benchmark.measured(bench, network, seeds)[macs])
    )


def test_of_every_criterion_the_best_selector_and_all_of_the_peers(bench):
    found = benchmark.chosen(bench, Case("resnet56", 0.5, 2))
    assert names(found) == ["a, local", "b, global", "c, global", "d, global", "peer, x", "peer, y"]
    assert {(network, seed) for network, seed, _ in bench.asked} == {("resnet20", 0)}


def test_the_best_way_is_tried_in_steps_too(bench, monkeypatch):
    better, worse = (Method(f"{name}, in steps", _never) for name in ("a, local", "b, global"))
    bench.cuts |= {better.name: 0.5, worse.name: 0.1}
    first, second, third = OURS[:3]
    others = replace(first, in_steps=Method("never tried", _never)), replace(second, in_steps=better)
    monkeypatch.setattr(benchmark, "methods", lambda: (*others, replace(third, in_steps=worse)))
    assert names(benchmark.chosen(bench, Case("resnet20", 0.5, 1))) == ["a, local, in steps", "b, global"]


def test_finalists_are_the_best_of_ours_with_the_first_seed(bench):
    first = benchmark.entrants(bench, Case("resnet56", 0.5, 0))
    assert len(first) == 6
    later = benchmark.entrants(bench, Case("resnet56", 0.5, 1))
    assert names(later) == ["b, global", "c, global", "d, global", "peer, x", "peer, y"]
    assert names(benchmark.entrants(bench, Case("resnet20", 0.5, 1))) == names(first)


def test_the_best_are_chosen_on_validation_images_and_compared_on_test_images(bench):
    found = {row.case: row for row in rows_of(bench, "resnet56", 0.5)}
    row = found["resnet56, 50% MACs: best of ours above best of the peer's"]
    assert row.value == pytest.approx(100 * ((1 - 0.8) - (1 - 0.65))) and row.holds is False
    assert "d, global against peer, y" in row.peer
    tuned = found["resnet56, 50% MACs, d, global, 1 epoch of fine-tuning: test top-1"]
    assert tuned.value == pytest.approx(20.5) and "seeds: 20.00, 21.00" in tuned.peer


def test_a_quick_look_is_kept_out_of_the_measurements(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["pruning", "--quick", "--measurements", str(tmp_path / "all.json")])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "leave out --measurements or --quick" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_all_seeds_are_measured_and_the_picture_names_every_method(bench, tmp_path):
    found = benchmark.measured(bench, "resnet20", 3)
    draw("resnet20", found, tmp_path / "all.svg")
    text = (tmp_path / "all.svg").read_text()
    for panel in found.values():
        assert names(panel) == ["a, local", "b, global", "c, global", "d, global", "peer, x", "peer, y"]
        assert all(len(seeds) == 3 for seeds in panel.values())
    assert all(text.count(f">{name}<") == len(FULL.budgets) for name in names(found[0.5]))


def test_what_went_through_some_seeds_only_is_never_the_best(bench):
    bench.accuracies["a, local"] = 0.52
    bench.plan = SimpleNamespace(**{**vars(FULL), "finalists": {"resnet56": 1}})
    assert "d, global against peer, y" in rows_of(bench, "resnet56", 0.5)[-1].peer


def test_true_importance_is_the_loss_without_the_channel():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4)).eval()
    grouping = pruning.find_safe_groups(pruning.trace(model, torch.zeros(1, 3)))
    images, labels = torch.randn(10, 3), torch.arange(10) % 4
    truth = true_importance(grouping, [(images[:7], labels[:7]), (images[7:], labels[7:])])
    expected = []
    with torch.no_grad():
        whole = nn.functional.cross_entropy(model(images), labels)
        for unit in range(5):
            column = model[2].weight[:, unit].clone()
            model[2].weight[:, unit] = 0
            expected.append((nn.functional.cross_entropy(model(images), labels) - whole).square())
            model[2].weight[:, unit] = column
    torch.testing.assert_close(truth, torch.stack(expected).double(), rtol=1e-4, atol=1e-10)
    assert agreement(grouping, truth, truth.sqrt()) == pytest.approx({"everywhere": 1, "within": 1})
    assert agreement(grouping, -truth, truth) == pytest.approx({"everywhere": -1, "within": -1})
    (own,) = pruning.TaylorGate().score(grouping, [(images, labels)], nn.functional.cross_entropy).values()
    assert torch.equal(scores(grouping, [(images, labels)], "taylor"), own)


def test_of_criteria_the_most_faithful_first_and_the_published_figure_beside():
    found = {"magnitude": {"everywhere": 0.2, "within": 0.1}, "taylor": {"everywhere": 0.92, "within": 0.9}}
    first, second = fidelity_rows("resnet20", found)
    assert "taylor" in first.case and first.holds is False and "published" in first.peer
    assert second.value == 0.2 and second.goal is None


@pytest.mark.parametrize("criterion", ["taylor", "random", "sosp-i"])
def test_scores_are_made_once_and_cut_alike(criterion, monkeypatch):
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)).eval()
    batches, calls = [(torch.randn(6, 3), torch.arange(6) % 4)], []
    score = Remembered.score
    monkeypatch.setattr(
        Remembered, "score", lambda self, *about: calls.append(bool(self._found)) or score(self, *about)
    )
    (method,) = [m for m in methods() if m.name == f"{criterion}, global"]
    for macs in (0.7, 0.4):
        found = method.cut(Job(model, torch.zeros(1, 3), macs, batches, 0))
        judge = pruning.criterion(criterion)
        expected = pruning.prune(
            model, torch.zeros(1, 3), macs=macs, criterion=judge, loader=batches if judge.needs_data else None
        ).model
        assert pruning.count_macs(found, torch.zeros(1, 3)) <= macs * 96
        assert all(map(torch.equal, found.state_dict().values(), expected.state_dict().values()))
    assert calls == [False, True]


def test_slow_criteria_see_few_images():
    batches = [(torch.zeros(50, 1), torch.zeros(50))] * 5
    assert [len(seen(criterion, batches)) for criterion in ("singe", "taylor")] == [3, 5]


def test_within_blocks_the_residual_stream_stays_whole():
    model = make_model("resnet20").eval()
    (method,) = [m for m in methods() if m.name == "magnitude, priced, within blocks"]
    cut = method.cut(Job(model, torch.zeros(1, 3, 32, 32), 0.5, [], 0))
    outputs = {name: layer.out_channels for name, layer in cut.named_modules() if isinstance(layer, nn.Conv2d)}
    before = {name: layer.out_channels for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    shrunk = {name for name in before if outputs[name] < before[name]}
    assert shrunk and all(name.endswith(".conv1") for name in shrunk)


def test_steps_score_the_network_as_it_is_then(monkeypatch):
    model, calls = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 4)).eval(), []
    score = pruning.Magnitude.score
    monkeypatch.setattr(
        pruning.Magnitude,
        "score",
        lambda self, grouping, *data: calls.append(grouping.units) or score(self, grouping, *data),
    )
    (method,) = [m for m in methods() if m.name == "magnitude, global"]
    cut = method.in_steps.cut(Job(model, torch.zeros(1, 3), 0.3, [], 0))
    assert calls[0] == 9 and len(calls) == 8 and calls == sorted(calls, reverse=True) and calls[-1] < 5
    assert pruning.count_macs(cut, torch.zeros(1, 3)) <= 0.3 * 63
    assert {m.name.partition(",")[0] for m in methods() if not m.is_peer and not m.in_steps} == set(ONE_SHOT)


def test_every_criterion_is_tried_in_the_ways_that_suit_it():
    names = [method.name for method in methods() if not method.is_peer]
    assert len(names) == len(set(names))
    assert [name for name in names if name.startswith("sosp-i")] == ["sosp-i, global", "sosp-i, global, within blocks"]
    assert sum(name.startswith("lamp, ") for name in names) == 7
