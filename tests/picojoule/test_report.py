import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from picojoule.report import (
    Amount,
    CircuitSource,
    EnergyBar,
    FrontPoint,
    Headline,
    LayerRow,
    RunReport,
    TargetRow,
    front_svg,
    numbers,
    render,
    write_report,
)
from picojoule.report.charts import charts

UNIFORM = (("12N4", 0.637, 91.60), ("17KS", 0.734, 91.02), ("1AGV", 0.757, 90.77), ("FTA", 0.785, 90.18))
MEASURED = ((0.589, 91.56), (0.70, 91.57), (0.76, 91.19), (0.802, 91.28), (0.859, 90.76), (0.896, 90.46))
COMPONENTS = {
    "multiplication": 4.1e6,
    "accumulation": 1.3e6,
    "operand_overhead": 0.21e6,
    "requantisation": 0.12e6,
    "weight_memory": 1.9e6,
    "activation_memory": 2.4e6,
}
WIDTHS = (16, 16, 16, 24, 24, 32, 32, 48)


def bar(label, factor, pruned=1.0):
    parts = {n: v * pruned * (factor if n == "multiplication" else 1) for n, v in COMPONENTS.items()}
    amounts = {n: Amount(pj=v, sigma_pj=0.2 * v) for n, v in parts.items()}
    whole = sum(parts.values())
    return EnergyBar(label=label, components=amounts, total=Amount(pj=whole, sigma_pj=0.13 * whole))


def points():
    found = [
        FrontPoint(kind="predicted", label=f"point {i}", saved_multiplication=i / 40, degradation=1e-4 * 1.2**i)
        for i in range(39)
    ]
    found += [
        FrontPoint(kind="uniform", label=n, saved_multiplication=s, accuracy=a, degradation=0.004 * (92 - a) ** 2)
        for n, s, a in (*UNIFORM, ("18DU", 0.921, 74.75))
    ]
    found += [
        FrontPoint(kind="measured", label=f"{100 * s:.1f} %", saved_multiplication=s, accuracy=a, degradation=0.01)
        for s, a in MEASURED
    ]
    found.append(
        FrontPoint(kind="chosen", label="chosen", saved_multiplication=0.838, accuracy=90.96, degradation=0.0146)
    )
    found.append(FrontPoint(kind="retrained", label="retrained", saved_multiplication=0.838, accuracy=91.4))
    return tuple(found)


def layer(i, width):
    return LayerRow(
        name=f"layer{i // 3 + 1}.{i % 3}.conv1",
        circuit=("mul8u_17KS", "mul8u_1AGV", "exact")[i % 3],
        operands=("sign-magnitude-9", "affine", "exact")[i % 3],
        macs=2_359_296 - 120_000 * i,
        energy_before=1.2e6 - 9e4 * i,
        energy_after=0.6e6 - 5e4 * i,
        multiplication_before=5e5,
        multiplication_after=(1.33e5, 1.2e5, 5e5)[i % 3],
        channels_before=width,
        channels_after=width - 4 * (i % 3),
        tolerance=0.04 * 1.3**i,
        predicted_error=0.03 * 1.2**i if i % 3 < 2 else 0.0,
    )


def sample(**changes):
    values = {
        "name": "resnet20-cifar10",
        "description": "ResNet-20 on CIFAR-10, EvoApproxLib lite, generic 45 nm accelerator",
        "headline": Headline(
            accuracy_float=91.73,
            accuracy_pruned=91.60,
            accuracy_int8=91.77,
            accuracy_approximate=90.96,
            accuracy_retrained=91.40,
            test_images=10000,
            macs_before=40_551_040,
            macs_after=28_385_000,
            parameters_before=269_722,
            parameters_after=189_313,
            saved_multiplication=0.838,
            saved_multiplication_sigma=0.031,
            saved_total=0.343,
            saved_total_sigma=0.052,
            multiplication_share_before=0.41,
            multiplication_share_after=0.10,
            backends_agree=True,
        ),
        "points": points(),
        "accuracy_note": "Accuracy on all 10,000 test images, bit-exact.",
        "bars": (
            bar("original, exact", 1.0),
            bar("pruned, exact", 1.0, 0.7),
            bar("pruned, approximate", 0.162, 0.7),
        ),
        "layers": tuple(layer(i, w) for i, w in enumerate(WIDTHS)),
        "targets": (
            TargetRow(name="onnx", what="ONNX, onnxruntime", golden_images=100, golden_equal=100),
            TargetRow(
                name="tvm", what="TVM, this machine", golden_images=100, golden_equal=100, details={"size": "1.2 MB"}
            ),
            TargetRow(
                name="cortex-m4",
                what="C, in an emulator",
                golden_images=100,
                golden_equal=99,
                details={"flash": "41 kB", "RAM": "11 kB"},
            ),
        ),
        "circuits": (
            CircuitSource(
                name="mul8u_17KS",
                layers=3,
                energy_relative=0.266,
                source="EvoApproxLib lite 2021",
                node="PDK45, 45 nm",
                method="synthesis, published power",
                uncertainty=0.1,
            ),
        ),
        "hardware": {"name": "generic 45 nm", "source": "Horowitz, ISSCC 2014"},
        "environment": {"python": "3.11.7", "torch": "2.13.0"},
        "configuration": 'name = "resnet20-cifar10"\n[model]\nname = "resnet20"\n',
        "command": "picojoule run examples/resnet20_cifar10.toml",
        "notes": ("Residual additions and pooling are not counted.",),
    }
    return RunReport(**{**values, **changes})


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.headings, self.tags, self.ids, self.text = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
                self.links.append((tag, value))
            if name == "id":
                self.ids.append(value)

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page():
    return render(sample())


def test_nothing_is_loaded_from_outside(page):
    parsed = Page(page)
    assert parsed.links == [("link", "data:,")]
    assert "default-src 'none'" in page
    own = page[: page.index("plotly.js v")] + page[page.rindex("</script>\n<script>") :]
    assert "http:" not in own
    assert "https:" not in own
    assert "@import" not in own
    assert "url(" not in own


def test_everything_is_on_the_page(page):
    parsed = Page(page)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {"chart-front", "chart-energy", "chart-tolerance", "figures", "pruning"} <= set(parsed.ids)
    assert parsed.tags.count("h1") == 1
    text = re.sub(r"\s+", " ", parsed.text)
    for part in (
        "83.8 % of the multiplication energy saved at −0.37 pp accuracy",
        "91.40 %",
        "28.4 M",
        "mul8u_17KS",
        "99 of 100 equal",
        "✓ 100 of 100 equal",
        "12 of 16",
        "EvoApproxLib lite 2021",
        "picojoule run examples/resnet20_cifar10.toml",
        "10.0 ± 1.3 µJ",
    ):
        assert part in text, part


def test_contents_are_escaped():
    text = render(sample(name="<script>alert(1)</script>", configuration="</pre></script>"))
    assert "<script>alert(1)" not in text
    points = (FrontPoint(kind="measured", label="</script><b>", saved_multiplication=0.5, accuracy=90),)
    text = render(sample(points=points))
    assert "</script><b>" not in text
    figures = re.search(r'id="figures">(.*?)</script>', text, re.S).group(1)
    assert json.loads(figures)["front"]["data"][0]["text"] == ["</script><b>"]


def test_small_report_leaves_parts_out(tmp_path):
    headline = sample().headline.model_copy(
        update={"accuracy_pruned": None, "accuracy_retrained": None, "backends_agree": None}
    )
    bare = RunReport(name="n", description="d", headline=headline)
    write_report(bare, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    parsed = Page(text)
    assert not {"chart-front", "chart-energy", "chart-tolerance", "pruning", "targets", "layers"} & set(parsed.ids)
    assert "Back ends" not in parsed.text
    assert charts(bare) == {}
    assert not sample(layers=tuple(layer(0, 16) for _ in range(2))).was_pruned


def test_contents_survive_json():
    report = sample()
    assert RunReport.model_validate_json(report.model_dump_json()) == report
    with pytest.raises(ValueError, match="accuracy_float"):
        report.headline.model_validate({**report.headline.model_dump(), "accuracy_float": 101})


def test_front_chart_shows_every_point():
    figure = charts(sample())["front"]
    shown = {trace["name"]: trace for trace in figure["data"] if trace["yaxis"] == "y"}
    assert shown["front, measured"]["x"] == pytest.approx(sorted([100 * s for s, _ in MEASURED] + [83.8]))
    assert shown["one circuit everywhere"]["text"] == [*(n for n, _, _ in UNIFORM), "18DU"]
    assert shown["chosen"]["y"] == [90.96]
    low, high = figure["layout"]["yaxis"]["range"]
    assert 85 < low < 90.18  # the hopeless uniform circuit does not squeeze the others
    assert high > 91.77
    predicted = [t for t in figure["data"] if t["name"] == "front, predicted"]
    assert len(predicted[0]["x"]) == 39
    only_measured = charts(sample(points=(FrontPoint(kind="measured", saved_multiplication=0.4, accuracy=90),)))
    assert "yaxis2" not in only_measured["front"]["layout"]


def test_energy_chart_stacks_to_the_total():
    report = sample()
    figure = charts(report)["energy"]
    bars = [trace for trace in figure["data"] if trace["type"] == "bar"]
    assert len(bars) == len(COMPONENTS)
    for i, expected in enumerate(report.bars):
        assert sum(trace["x"][i] for trace in bars) * 1e6 == pytest.approx(expected.total.pj)


def test_svg_is_well_formed_and_shows_the_points():
    text = front_svg(points(), 91.77)
    root = ET.fromstring(text)
    assert root.attrib["aria-label"].endswith("83.8 % saved at 91.40 %")
    tag = "{http://www.w3.org/2000/svg}"
    titles = [t.text for t in root.iter(f"{tag}title")]
    assert "chosen: 83.8 % saved, 90.96 %" in titles
    assert len(titles) == len(MEASURED) + len(UNIFORM) + 2
    for node in root.iter(f"{tag}circle"):
        assert 0 < float(node.attrib["cx"]) < 760
        assert 0 < float(node.attrib["cy"]) < 430
    assert "18DU" in front_svg(points(), 91.77, lowest=70)
    single = (FrontPoint(kind="uniform", label="<a&b>", saved_multiplication=-0.1, accuracy=50),)
    assert "&lt;a&amp;b&gt;" in front_svg(single, 50.0)
    ET.fromstring(front_svg(single, 50.0))
    with pytest.raises(ValueError, match="at least one measured point"):
        front_svg((FrontPoint(kind="predicted", saved_multiplication=0.1, degradation=1),), 90)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.energy(0), "0.00 pJ"),
        (numbers.energy(12.34), "12.3 pJ"),
        (numbers.energy(999.6), "1000 pJ"),
        (numbers.energy(1.5e7), "15.0 µJ"),
        (numbers.energy_with_sigma(1.5e6, 2.5e5), "1.50 ± 0.25 µJ"),
        (numbers.count(1797), "1,797"),
        (numbers.count(40_551_040), "40.6 M"),
        (numbers.percent(-0.5), "−50.0 %"),
        (numbers.points(-0.371), "−0.37 pp"),
        (numbers.points(0.2), "+0.20 pp"),
        (numbers.small(0.05234), "0.052"),
        (numbers.small(1.3e-5), "1.3×10⁻⁵"),
        (numbers.small(0), "0"),
        (numbers.small(123.4), "123"),
    ],
)
def test_numbers(text, expected):
    assert text.replace(numbers.NARROW_SPACE, " ") == expected


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [390, 1280])
def test_browser_draws_it_without_console_errors(tmp_path, width):
    write_report(sample(), tmp_path / "report.html")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    flags += "--disable-component-update --disable-sync --enable-logging=stderr --v=0 --virtual-time-budget=8000"
    done = subprocess.run(
        [CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},2000",
         "--dump-dom", (tmp_path / "report.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert 'data-charts="drawn"' in done.stdout
    assert done.stdout.count("main-svg") >= 3
    assert "CONSOLE" not in done.stderr
