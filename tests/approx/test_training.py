"""The training loop: it learns, it keeps the best, it resumes where it was, it says what is wrong."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from approx import Divergence, Recipe, Trainer, accuracy, quantise

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def problem() -> tuple[nn.Module, Batches]:
    torch.manual_seed(1)
    images = torch.randn(256, 1, 4, 4)
    labels = (images[:, 0, :2].sum((1, 2)) > images[:, 0, 2:].sum((1, 2))).long()
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    return model, list(zip(images.split(32), labels.split(32), strict=True))


def weights_of(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("recipe", [Recipe(8, 0.1), Recipe(8, 0.05, optimiser="channel-adam")], ids=str)
@pytest.mark.parametrize("integer", [False, True])
def test_it_learns_float_and_integer(integer: bool, recipe: Recipe) -> None:
    model, batches = problem()
    if integer:
        model = quantise(model, [x for x, _ in batches])
    losses = list(Trainer(model, recipe).run(batches))
    assert losses[-1] < 0.6 * losses[0] and accuracy(model, batches) > 0.85


@pytest.mark.parametrize("mixup", [False, True])
def test_a_teacher_is_imitated_and_labels_are_not_looked_at(mixup: bool) -> None:
    teacher, batches = problem()
    list(Trainer(teacher, Recipe(epochs=8, learning_rate=0.1)).run(batches))
    no_labels = [(x, y - 1000) for x, y in batches]
    student = problem()[0]
    list(Trainer(student, Recipe(epochs=8, learning_rate=0.1, distillation=1.0, mixup=mixup), teacher).run(no_labels))
    assert accuracy(student, batches) > 0.85
    divergence = Divergence(teacher, no_labels)
    assert divergence(student) < 0.5 * divergence(problem()[0]) and divergence(teacher) == pytest.approx(0, abs=1e-12)


def test_teacher_and_student_see_the_same_mixed_images() -> None:
    seen: list[torch.Tensor] = []
    teacher, batches = problem()
    student = copy.deepcopy(teacher)
    for module in (teacher, student):
        module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    recipe = Recipe(learning_rate=1e-30, distillation=1.0, mixup=True)
    assert next(Trainer(student, recipe, teacher).run(batches)) == pytest.approx(0, abs=1e-10)
    pairs = list(zip(seen[::2], seen[1::2], strict=True))
    assert len(pairs) == 8 and all(torch.equal(a, b) for a, b in pairs)
    assert not any(torch.equal(a, x) for (a, _), (x, _) in zip(pairs, batches, strict=True))


def test_the_last_weights_are_kept_without_a_score_and_the_best_with_one() -> None:
    _, batches = problem()
    wanted = {0: 0.1, 8: 0.5, 16: 0.9, 24: 0.9, 32: 0.2}
    at: dict[int, torch.Tensor] = {}

    def score(module: nn.Module) -> float:
        assert not module.training and not torch.is_grad_enabled()
        at[trainer.updates] = weights_of(module)
        return wanted[trainer.updates]

    trainer = Trainer(problem()[0], Recipe(epochs=4, learning_rate=0.1), score=score)
    assert len(list(trainer.run(batches))) == 4
    assert trainer.best is not None and trainer.best.scores == list(wanted.items())
    assert torch.equal(weights_of(trainer.module), at[16])  # of equal ones the first
    plain = Trainer(problem()[0], Recipe(epochs=4, learning_rate=0.1))
    list(plain.run(batches))
    assert torch.equal(weights_of(plain.module), at[32])


def test_training_that_only_harms_ends_where_it_began() -> None:
    model, batches = problem()
    before = weights_of(model)
    list(Trainer(model, Recipe(epochs=2, learning_rate=0.5), score=lambda m: -float(accuracy(m, batches))).run(batches))
    assert torch.equal(weights_of(model), before)


@pytest.mark.parametrize(
    ("recipe", "updates", "epochs"),
    [
        (Recipe(epochs=9, patience=2), [0, 8, 16], 2),
        (Recipe(epochs=9, patience=2, validate_every=3), [0, 3, 6], 1),
        (Recipe(epochs=9, patience=3, validate_every=4), [0, 4, 8, 12], 2),  # step 8 ends an epoch: asked once
    ],
)
def test_patience_ends_it(recipe: Recipe, updates: list[int], epochs: int) -> None:
    model, batches = problem()
    trainer = Trainer(model, recipe, score=lambda module: 0.0)
    assert len(list(trainer.run(batches))) == epochs == len(trainer.losses)
    assert trainer.best is not None and [u for u, _ in trainer.best.scores] == updates
    assert trainer.updates == updates[-1] and not model.training
    assert list(trainer.run(batches)) == []


def test_the_average_is_what_is_scored_and_kept() -> None:
    model, batches = problem()
    seen: list[torch.Tensor] = []

    def score(module: nn.Module) -> float:
        seen.append(weights_of(module))
        return float(len(seen))

    trainer = Trainer(model, Recipe(epochs=2, learning_rate=0.1, ema=0.9), score=score)
    steps = trainer.run(batches)
    next(steps)
    assert not torch.equal(weights_of(model), seen[-1])  # training goes on with the weights themselves
    list(steps)
    assert torch.equal(weights_of(model), seen[-1]) and len(seen) == 3


def test_a_state_goes_on_in_the_middle_of_an_epoch() -> None:
    recipe = Recipe(epochs=3, learning_rate=0.1, ema=0.8, validate_every=3)
    states: list[dict[str, object]] = []

    def trainer() -> Trainer:
        module, batches = problem()
        return Trainer(module, recipe, score=lambda m: accuracy(m, batches))

    whole, batches = trainer(), problem()[1]
    whole_losses = list(whole.run(batches, lambda *_: states.append(copy.deepcopy(whole.state_dict()))))
    assert len(states) == 24
    for state in states:
        second = trainer()
        second.load_state_dict(copy.deepcopy(state))
        list(second.run(batches))
        assert second.losses == whole_losses and torch.equal(weights_of(second.module), weights_of(whole.module))
        assert second.best is not None and whole.best is not None and second.best.scores == whole.best.scores


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            lambda m, r: Trainer(m, Recipe(epochs=2, ema=0.5)),
            r"another recipe: epochs was 1, is 2, ema was None, is 0.5",
        ),
        (
            lambda m, r: Trainer(nn.Sequential(m, nn.Linear(2, 2)), r),
            r"another network: '0.0.weight' was absent, is \[",
        ),
        (lambda m, r: Trainer(nn.Sequential(*m[:3], nn.Linear(16, 3)), r), r"'3.weight' was \[2, 16\], is \[3, 16\]"),
        (lambda m, r: Trainer(m, r, score=lambda m: 0.0), "with a validation score"),
    ],
)
def test_foreign_states_are_refused_and_change_nothing(
    other: Callable[[nn.Module, Recipe], Trainer], message: str
) -> None:
    model, batches = problem()
    first = Trainer(model, Recipe())
    list(first.run(batches))
    second = other(problem()[0], Recipe())
    before = weights_of(second.module)
    with pytest.raises(ValueError, match=message):
        second.load_state_dict(first.state_dict())
    assert torch.equal(weights_of(second.module), before) and second.updates == 0


def test_empty_loaders_and_divergence() -> None:
    model, batches = problem()
    with pytest.raises(ValueError, match="yielded nothing"):
        list(Trainer(model, Recipe()).run([]))
    with pytest.raises(ValueError, match="yielded nothing"):
        accuracy(model, [])
    with pytest.raises(ValueError, match="expected the teacher's 0 images, got 0"):
        Divergence(model, [])(model)
    with pytest.raises(ValueError, match="expected the teacher's 256 images, got 0; give a loader"):
        Divergence(model, iter(batches))(model)
    before = weights_of(model)
    broken = [(x * float("inf"), y) for x, y in batches]
    with pytest.raises(ValueError, match=r"loss is nan in epoch 1, step 1: its images hold NaN"):
        list(Trainer(model, Recipe()).run(broken))
    huge = [(x * 1e38, y) for x, y in batches]
    with pytest.raises(ValueError, match=r"(loss|norm) is (nan|inf) in epoch 1, step 1: lower the learning rate \(now"):
        list(Trainer(model, Recipe(clip=None)).run(huge))
    assert torch.equal(weights_of(model), before)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_out_of_range(label: int) -> None:
    model, batches = problem()
    wrong = [(x, torch.full_like(y, label)) for x, y in batches]
    with pytest.raises(ValueError, match=rf"labels must lie in 0\.\.1, the network's outputs, got {label}\.\.{label}"):
        list(Trainer(model, Recipe()).run(wrong))
    with pytest.raises(ValueError, match="expected one label per image, 32, got a tensor of shape"):
        list(Trainer(model, Recipe()).run([(x, y[1:]) for x, y in batches]))
    with pytest.raises(ValueError, match="integer labels, got torch.float32"):
        list(Trainer(model, Recipe()).run([(x, y.float()) for x, y in batches]))


def test_a_teacher_of_other_classes_and_a_score_that_is_no_number() -> None:
    model, batches = problem()
    with pytest.raises(ValueError, match=r"teacher's outputs are \[32, 3\], the student's \[32, 2\]"):
        list(Trainer(model, Recipe(), nn.Sequential(nn.Flatten(), nn.Linear(16, 3))).run(batches))
    with pytest.raises(ValueError, match="validation score after 0 steps is nan"):
        list(Trainer(model, Recipe(), score=lambda module: float("nan")).run(batches))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ema": 1.0}, r"ema=1.0 \(expected at least 0 and below 1\)"),
        ({"mixup": True}, r"mixup with distillation=0.5 \(mixed images have no label"),
        ({"learning_rate": 0.0, "distillation": 1.5}, r"learning_rate=0.0 .*, distillation=1.5 \(expected 0..1\)"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"patience": 0}, r"patience=0 \(expected positive\)"),
        ({"momentum": 1.0}, r"momentum=1.0 \(expected at least 0 and below 1\)"),
        ({"optimiser": "adam"}, r"optimiser='adam' \(expected one of \['sgd', 'channel-adam'\]\)"),
        ({"warmup_steps": -1}, r"warmup_steps=-1 \(expected not negative\)"),
    ],
)
def test_bad_recipes(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"distillation": 1.0}, {"distillation": 1.0, "mixup": True}, {"patience": 2}])
def test_recipes_that_need_something_that_is_not_there(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give a teacher|need a validation score"):
        Trainer(problem()[0], Recipe(**wrong))  # type: ignore[arg-type]


def test_the_teacher_is_left_alone() -> None:
    student, batches = problem()
    teacher = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 2)).train()
    list(Trainer(student, Recipe(), teacher).run(batches))
    assert teacher.training and not teacher[0].running_mean.any()
