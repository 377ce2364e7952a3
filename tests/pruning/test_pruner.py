"""The pruner: what it refuses, before any training where it can; and how it goes on after a kill inside a step."""

import copy
import io

import pytest
import torch
from torch import nn

import pruning.shrinking
from approx import Recipe, Trainer
from pruning import Entwined, Iterative, OneShot, Pruner, Request, SoftToHard, prune
from pruning.schedules.testing import require_same

X = torch.ones(2, 4)


def chain(width=6):
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 5), nn.ReLU(), nn.Linear(5, 3))


def start(schedule, tune=None, model=None, **request):
    return Pruner(model or chain(), X, Request(**{"criterion": "magnitude", **request}), schedule, tune)


def must_not_train(network, phase):
    raise AssertionError("trained")


def images(epochs=8):
    """One batch for every epoch."""
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(16, 4, generator=generator), torch.arange(16) % 3) for _ in range(epochs)]


class WithTrainer:
    """How a Trainer is composed: one per phase, its own checkpoint of that phase, data by the number of the epoch.

    Killed in training by `kill_in`, the number of epochs trained in all phases.
    """

    def __init__(self, teacher, kill_in=None):
        self.teacher, self.kill_in, self.saved, self.trained = teacher, kill_in, {}, []

    def __call__(self, network, phase):
        trainer = Trainer(network, Recipe(phase.epochs, 0.05, distillation=0.5), self.teacher)
        if phase.number in self.saved:
            trainer.load_state_dict(self.saved[phase.number])
        epochs = iter(trainer.run(EpochByNumber(trainer, phase)))
        while trainer.epoch < phase.epochs:
            if phase.first_epoch + trainer.epoch == self.kill_in:
                network[0].weight.data.fill_(float("nan"))
                raise KeyboardInterrupt
            next(epochs)
            self.trained.append(phase.first_epoch + trainer.epoch)
            phase.after_epoch(trainer.epoch)
            self.saved[phase.number] = copy.deepcopy(trainer.state_dict())
        assert next(epochs, None) is None


class EpochByNumber:
    def __init__(self, trainer, phase):
        self.trainer, self.phase = trainer, phase

    def __iter__(self):
        return iter([images()[self.phase.first_epoch + self.trainer.epoch]])


@pytest.mark.parametrize("schedule", [Iterative(2, 2, 2), SoftToHard(3, 1)], ids=lambda schedule: schedule.name)
def test_killed_in_a_phase_of_a_trainer_it_goes_on_bit_for_bit(schedule):
    """Epochs that the trainer has a checkpoint of are not trained again."""
    teacher = chain()
    whole = start(schedule, WithTrainer(teacher))
    list(whole.run())
    for kill in range(4):
        tune, state = WithTrainer(teacher, kill), None
        pruner = start(schedule, tune)
        with pytest.raises(KeyboardInterrupt):
            for _ in pruner.run():
                state = copy.deepcopy(pruner.state_dict())
        tune.kill_in = None
        again = start(schedule, tune)
        if state is not None:  # there is none before the first cut or the end of a training without one
            again.load_state_dict(state)
        list(again.run())
        assert tune.trained == [1, 2, 3, 4]
        assert again.result().plan == whole.result().plan
        require_same(again.network.model, whole.network.model)


def test_a_state_is_plain_and_the_users_to_keep():
    buffer = io.BytesIO()
    torch.save(start(Iterative(2, 0, 0)).state_dict(), buffer)
    buffer.seek(0)
    pruner = start(Iterative(2, 0, 0))
    pruner.load_state_dict(torch.load(buffer, weights_only=True))
    assert list(pruner.run())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: start(Iterative(2, 0, 0), macs=0.4), r"another pruning: steps was Step\(.*limit=\d+\.\d+"),
        (lambda: start(Iterative(3, 0, 0)), r"another pruning: steps was \["),
        (lambda: start(OneShot()), r"another pruning: schedule was iterative, is one-shot"),
        (lambda: start(Iterative(2, 0, 0), criterion="random"), r"criterion was magnitude, is random"),
        (lambda: start(Iterative(2, 0, 0), selector="local"), r"selector was global, is local"),
        (lambda: start(Iterative(2, 0, 0), min_keep=2), r"constraints was .*min_keep=1.*, is .*min_keep=2"),
        (lambda: start(Iterative(2, 0, 0), ignore=["0"]), r"ignore was \(\), is \('0',\)"),
    ],
)
def test_states_of_another_pruning(other, message):
    first = start(Iterative(2, 0, 0))
    next(first.run())
    second = other()
    before = copy.deepcopy(second.network.model)
    with pytest.raises(ValueError, match=message):
        second.load_state_dict(first.state_dict())
    assert second.done == 0
    require_same(second.network.model, before)


def test_states_of_another_network_and_after_a_cut():
    state = start(OneShot(), macs=1.0).network.state_dict()
    other = start(OneShot(), model=chain(7), macs=1.0)
    with pytest.raises(ValueError, match=r"another network: '0.weight' was \[6, 4\], is \[7, 4\]"):
        other.network.load_state_dict(state)
    pruner = start(OneShot())
    list(pruner.run())
    with pytest.raises(ValueError, match="before the first cut"):
        pruner.load_state_dict(pruner.state_dict())


def test_what_is_impossible_is_said_before_training():
    with pytest.raises(ValueError, match=r"cannot be met: the closest is"):
        start(SoftToHard(), must_not_train, macs=0.001)
    with pytest.raises(ValueError, match="nothing can be pruned"):
        start(SoftToHard(), must_not_train, ignore=["*"])
    with pytest.raises(ValueError, match="'iterative' wants 14 epochs of training: pass tune="):
        start(Iterative())
    with pytest.raises(ValueError, match="'one-shot' wants no epochs of training: leave out tune="):
        prune(chain(), X, criterion="magnitude", tune=must_not_train)
    data = ((x, y) for x, y in images())
    with pytest.raises(ValueError, match="loader: .* iterated again"):
        start(Entwined(0.2, 0, 0), criterion="taylor", loader=data)


def test_a_generator_will_do_for_one_step():
    result = prune(chain(), X, criterion="taylor", loader=((x, y) for x, y in images()))
    assert result.macs_after <= 0.5 * result.macs_before


def test_no_result_before_the_end():
    pruner = start(Iterative(2, 0, 0))
    next(pruner.run())
    with pytest.raises(ValueError, match="0 of 2 steps are done"):
        pruner.result()


class LooksAtSizes(nn.Module):
    """One more operation once the hidden layer is narrow."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        y = torch.relu(self.a(x))
        return self.b(y if y.shape[1] > 4 else y.sigmoid().logit())


def test_a_network_that_does_something_else_when_it_is_smaller():
    pruner = start(Iterative(3, 0, 0), model=LooksAtSizes())
    with pytest.raises(RuntimeError, match="other operations than before it .*sigmoid.* looks at sizes"):
        list(pruner.run())


def test_a_failed_check_discards_the_cut(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("differs from the masked one")

    monkeypatch.setattr(pruning.shrinking, "require_equal_cut", refuse)
    pruner = start(OneShot())
    with pytest.raises(RuntimeError, match="differs"):
        list(pruner.run())
    require_same(pruner.network.model, chain())
    assert pruner.network.plan.axes == ()
