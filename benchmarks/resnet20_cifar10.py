"""The main job on CIFAR-10 ResNet-20 from the published weights: accuracy and energy saved, all 10,000 test images.

    python -m benchmarks.resnet20_cifar10 [--quick] [--out RUN_FOLDER] --json FILE

Runs `examples/resnet20_cifar10.toml` (needs CIFAR-10, the published weights and EvoApprox lite, see there). Published
and prototype figures stand beside ours. --quick measures 500 test images, three points and no retraining.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._report import Row, at_least, at_most, publish
from picojoule.config import load_config
from picojoule.pipeline import run_pipeline

EXAMPLE = Path(__file__).parents[1] / "examples" / "resnet20_cifar10.toml"
QUICK = (
    "data.test_images=500",
    "data.validation_images=500",
    "data.calibration_images=256",
    "select.candidates=3",
    "deploy.golden_images=10",
)
PUBLISHED_TOP1 = 91.73
PROTOTYPE = "hour-long prototype without retraining: 83.8 % saved at 0.81 pp"
PUBLISHED = "published (AGN, ResNets on CIFAR-10): 70-79 % saved below 1 pp"


def rows(results: dict[str, Any]) -> list[Row]:
    """The figures of a finished run."""
    exact, approximate = 100 * results["accuracy_int8"], 100 * results["accuracy_approximate"]
    images = f"{results['test_images']} test images"
    loss = exact - approximate
    found = [
        Row(f"float top-1, {images}", 100 * results["accuracy_float"], "%", peer=f"weights' authors: {PUBLISHED_TOP1}"),
        at_most("exact 8 bit: top-1 below published", PUBLISHED_TOP1 - exact, "pp", 0.3, f"exact 8 bit: {exact:.2f} %"),
        at_most("approximate: top-1 lost against exact 8 bit", loss, "pp", 1.0, f"approximate: {approximate:.2f} %"),
        at_least(
            "multiplication energy saved",
            100 * results["energy_saved_multiplication"],
            "%",
            75.0,
            f"{PUBLISHED}; {PROTOTYPE}",
        ),
        Row("total energy saved by the circuits (generic_45nm)", 100 * results["energy_saved_total"], "%"),
        Row("distinct circuits", len({c["multiplier"] for c in results["assignment"]["layers"].values()}), "circuits"),
        Row("back ends equal the program", float(results["backends_agree"]), "of 1", 1.0, results["backends_agree"]),
    ]
    found += [
        Row(
            f"front without retraining, {100 * point['saved']:.1f} % saved: top-1 lost",
            exact - 100 * point["top1"],
            "pp",
        )
        for point in results["front_measured"]
    ]
    times = results["seconds"]
    return [*found, *(Row(f"stage {name}", value, "s") for name, value in times.items())]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="500 test images, no retraining")
    parser.add_argument("--out", type=Path, help="run folder to use (a finished run is only read)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary) / "run"
        config = load_config(EXAMPLE, QUICK if arguments.quick else ())
        if arguments.quick:
            config = config.model_copy(update={"retrain": None})
        results = run_pipeline(config, folder)
    publish("benchmarks.resnet20_cifar10", rows(results), arguments.json)


if __name__ == "__main__":
    main()
