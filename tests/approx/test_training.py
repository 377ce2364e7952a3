"""The training loop: it learns, it resumes where it was, it says what is wrong."""

import pytest
import torch
from torch import nn

from approx import Recipe, Trainer, accuracy, quantise


def problem() -> tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    torch.manual_seed(1)
    images = torch.randn(256, 1, 4, 4)
    labels = (images[:, 0, :2].sum((1, 2)) > images[:, 0, 2:].sum((1, 2))).long()
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    return model, list(zip(images.split(32), labels.split(32), strict=True))


@pytest.mark.parametrize("integer", [False, True])
def test_it_learns_float_and_integer(integer: bool) -> None:
    model, batches = problem()
    if integer:
        model = quantise(model, [x for x, _ in batches])
    losses = list(Trainer(model, Recipe(epochs=8, learning_rate=0.1)).run(batches))
    assert losses[-1] < 0.6 * losses[0] and accuracy(model, batches) > 0.85


def test_taking_up_again_is_the_same_as_never_stopping() -> None:
    model, batches = problem()
    recipe = Recipe(epochs=4, learning_rate=0.05)
    whole = Trainer(model, recipe)
    list(whole.run(batches))
    first = Trainer(problem()[0], recipe)
    steps = first.run(batches)
    next(steps), next(steps)
    second = Trainer(problem()[0], recipe)
    second.module.load_state_dict(first.module.state_dict())
    second.optimiser.load_state_dict(first.optimiser.state_dict())
    second.epoch = first.epoch
    assert len(list(second.run(batches))) == 2
    for a, b in zip(whole.module.parameters(), second.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_teacher_is_imitated() -> None:
    teacher, batches = problem()
    list(Trainer(teacher, Recipe(epochs=8, learning_rate=0.1)).run(batches))
    upside_down = [(x, 1 - y) for x, y in batches]
    student = problem()[0]
    list(Trainer(student, Recipe(epochs=8, learning_rate=0.1, distillation=1.0), teacher).run(upside_down))
    assert accuracy(student, batches) > 0.85


def test_empty_loaders_and_divergence() -> None:
    model, batches = problem()
    with pytest.raises(ValueError, match="yielded nothing"):
        list(Trainer(model, Recipe()).run([]))
    with pytest.raises(ValueError, match="yielded nothing"):
        accuracy(model, [])
    broken = [(x * float("inf"), y) for x, y in batches]
    with pytest.raises(ValueError, match=r"loss is nan in epoch 1, step 1; lower the learning rate"):
        list(Trainer(model, Recipe()).run(broken))


def test_the_teacher_is_left_alone() -> None:
    student, batches = problem()
    teacher = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 2)).train()
    list(Trainer(student, Recipe(), teacher).run(batches))
    assert teacher.training and not teacher[0].running_mean.any()
