"""A front on disk, written again over an earlier one."""

from pathlib import Path

from approx import Assignment, Choice
from noise_models import Front, FrontPoint
from picojoule.front_folder import check_front_folder, write_front


def test_a_smaller_front_takes_its_predecessors_place_and_leaves_the_users_files(tmp_path: Path) -> None:
    points = [FrontPoint(0.1 * k, 1.0 / k, Assignment({"layer": Choice(f"m{k}")})) for k in (1, 2, 3)]
    front = Front.of("knapsack", points)
    write_front(tmp_path, front, front, points)
    (tmp_path / "assignment2_edited.json").write_text("{}")
    check_front_folder(tmp_path)
    write_front(tmp_path, front, front, points[:1])
    kept = sorted(p.name for p in tmp_path.glob("assignment*"))
    assert kept == ["assignment0.json", "assignment2_edited.json"]
