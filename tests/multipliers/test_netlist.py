"""Netlist evaluation and the builder, against plain Python integers."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multipliers import Gate, Netlist, NetlistBuilder
from multipliers.families.exact import Exact, ExactSigned
from multipliers.gates import GATE_KINDS
from multipliers.simulation import integers

TRUTH = {
    "BUF": lambda a: [a],
    "INV": lambda a: [1 - a],
    "AND2": lambda a, b: [a * b],
    "OR2": lambda a, b: [max(a, b)],
    "NAND2": lambda a, b: [1 - a * b],
    "NOR2": lambda a, b: [1 - max(a, b)],
    "XOR2": lambda a, b: [int(a != b)],
    "XNOR2": lambda a, b: [int(a == b)],
    "NAND3": lambda a, b, c: [1 - a * b * c],
    "NOR3": lambda a, b, c: [1 - max(a, b, c)],
    "AOI21": lambda a, b, c: [1 - max(a * b, c)],
    "OAI21": lambda a, b, c: [1 - max(a, b) * c],
    "MUX2": lambda a, b, s: [b if s else a],
    "HA": lambda a, b: [(a + b) % 2, (a + b) // 2],
    "FA": lambda a, b, c: [(a + b + c) % 2, (a + b + c) // 2],
}

WIDE = Exact().netlist(24, 20)


def bits(value: int, width: int) -> list[int]:
    return [value >> k & 1 for k in range(width)]


@pytest.mark.parametrize("kind", GATE_KINDS)
def test_every_gate_kind_has_its_truth_table(kind: str) -> None:
    arity = len(GATE_KINDS[kind].inputs)
    width_b = max(1, arity - 1)
    nets = (2, *range(3, 3 + width_b))
    outputs = tuple(range(10, 10 + len(GATE_KINDS[kind].outputs)))
    netlist = Netlist(kind, (2,), nets[1:], outputs, (Gate(kind, nets[:arity], outputs),))
    table = netlist.product_table()
    for a in range(2):
        for b in range(1 << width_b):
            operands = [a, *bits(b, width_b)][:arity]
            assert bits(int(table[a, b]), len(outputs)) == TRUTH[kind](*operands)


operations = st.lists(
    st.tuples(st.sampled_from(sorted(GATE_KINDS)), st.lists(st.integers(0, 10**6), min_size=3, max_size=3)),
    max_size=40,
)


@settings(max_examples=300)
@given(operations, st.lists(st.integers(0, 10**6), min_size=1, max_size=6), st.booleans())
def test_builder_preserves_the_function_of_random_circuits(
    steps: list[tuple[str, list[int]]], picks: list[int], signed: bool
) -> None:
    """Folding, sharing, dead logic removal and mapping never change what a circuit computes."""
    width = 3
    builder = NetlistBuilder("random", width, width, signed=signed)
    nets = [0, 1, *builder.a, *builder.b]
    reference: list[list[int]] = []  # value of nets[i] for each operand pair
    pairs = [(a, b) for a in range(1 << width) for b in range(1 << width)]
    reference = [[0] * len(pairs), [1] * len(pairs)]
    reference += [[a >> k & 1 for a, _ in pairs] for k in range(width)]
    reference += [[b >> k & 1 for _, b in pairs] for k in range(width)]
    for kind, choice in steps:
        chosen = [c % len(nets) for c in choice[: len(GATE_KINDS[kind].inputs)]]
        nets.extend(builder.gate(kind, *(nets[c] for c in chosen)))
        rows = [TRUTH[kind](*(reference[c][n] for c in chosen)) for n in range(len(pairs))]
        reference.extend([list(column) for column in zip(*rows, strict=True)])
    chosen = [p % len(nets) for p in picks]
    netlist = builder.finish([nets[c] for c in chosen])
    expected = np.zeros(len(pairs), dtype=np.int64)
    for position, c in enumerate(chosen):
        expected += np.array(reference[c]) << position
    if signed:
        expected -= (expected >> (len(chosen) - 1)) << len(chosen)
    table = netlist.product_table()
    np.testing.assert_array_equal(table.ravel(), expected)
    operands = np.arange(8) - 8 * (signed & (np.arange(8) > 3))
    a, b = np.meshgrid(operands, operands, indexing="ij")
    np.testing.assert_array_equal(netlist.multiply(a, b), table)
    used = {net for gate in netlist.gates for net in gate.inputs} | set(netlist.outputs)
    assert all(any(net in used for net in gate.outputs) for gate in netlist.gates)


@pytest.mark.parametrize(("width_a", "width_b"), [(1, 1), (1, 2), (2, 3), (3, 4), (7, 3), (10, 10)])
def test_exhaustive_order_is_row_a_column_b(width_a: int, width_b: int) -> None:
    table = Exact().netlist(width_a, width_b).product_table()
    np.testing.assert_array_equal(table, np.multiply.outer(np.arange(1 << width_a), np.arange(1 << width_b)))


def test_operands_are_not_exchanged() -> None:
    builder = NetlistBuilder("a and not b", 8, 8)
    netlist = builder.finish([builder.and2(builder.a[0], builder.inv(builder.b[0]))])
    table = netlist.product_table()
    assert table[1, 0] == 1 and table[0, 1] == 0


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2**24 - 1), st.integers(0, 2**20 - 1)), max_size=130))
def test_wide_exact_multiplication(pairs: list[tuple[int, int]]) -> None:
    a = np.array([p[0] for p in pairs], dtype=np.int64)
    b = np.array([p[1] for p in pairs], dtype=np.int64)
    np.testing.assert_array_equal(WIDE.multiply(a, b), a * b)


def test_signed_multiplication_of_arrays_keeps_shape() -> None:
    a = np.array([[-128, 127], [0, -1]])
    b = np.array([[-128, -128], [5, 3]])
    np.testing.assert_array_equal(ExactSigned().netlist().multiply(a, b), a * b)
    assert ExactSigned().netlist().multiply(np.zeros((0, 3), int), np.zeros((0, 3), int)).shape == (0, 3)


def test_bad_operands_are_refused() -> None:
    netlist = Exact().netlist()
    with pytest.raises(ValueError, match=r"operand a must lie in 0\.\.255, got 0\.\.256"):
        netlist.multiply(np.array([0, 256]), np.array([0, 0]))
    with pytest.raises(ValueError, match="operand b must lie in"):
        ExactSigned().netlist().multiply(np.array([0]), np.array([128]))
    with pytest.raises(ValueError, match="shapes differ"):
        netlist.multiply(np.array([0, 1]), np.array([0]))
    with pytest.raises(ValueError, match="must be integers"):
        netlist.multiply(np.array([0.5]), np.array([0]))


def test_too_wide_for_a_table() -> None:
    with pytest.raises(ValueError, match="32 operand bits are too many"):
        Exact().netlist(16, 16).product_table()
    with pytest.raises(ValueError, match="21 operand bits are too many"):
        Exact().netlist(11, 10).all_pairs()


def wires(width: int, *, signed: bool = False) -> Netlist:
    """``width`` product bits, all of them operand b's highest bit but the lowest, which is a's lowest."""
    return Netlist("wires", (2, 3), (4,), (2, *(4,) * (width - 1)), (), signed)


@pytest.mark.parametrize("width", [1, 2, 5, 31])
def test_product_width_is_free(width: int) -> None:
    """Imported circuits may have more or fewer product bits than operand bits."""
    high = ((1 << width) - 2) if width > 1 else 0
    expected = np.array([[0, high], [1, high + 1], [0, high], [1, high + 1]])
    np.testing.assert_array_equal(wires(width).product_table(), expected)
    signed = wires(width, signed=True)
    table = np.where(expected >> (width - 1), expected - (1 << width), expected)
    np.testing.assert_array_equal(signed.product_table(), table)
    np.testing.assert_array_equal(signed.multiply([1, -2], [-1, 0]), [table[1, 1], table[2, 0]])


def test_products_that_fit_no_integer_are_refused() -> None:
    assert wires(63).multiply([1], [1])[0] == (1 << 63) - 1
    with pytest.raises(ValueError, match="64 product bits; int64 holds at most 63"):
        wires(64).multiply([1], [1])
    with pytest.raises(ValueError, match="32 product bits; a table holds at most 31"):
        wires(32).product_table()


@pytest.mark.parametrize("family", [Exact(), ExactSigned()])
@pytest.mark.parametrize("widths", [(11, 10), (4, 3)])
def test_large_arrays_are_multiplied_in_pieces(family: Exact | ExactSigned, widths: tuple[int, int]) -> None:
    a, b = (
        np.random.default_rng(0).integers(-(1 << (w - 1)) * family.signed, 1 << (w - family.signed), size=(7, 20_001))
        for w in widths
    )
    np.testing.assert_array_equal(family.netlist(*widths).multiply(a, b), a * b)


def test_small_integer_types_and_strides_are_taken() -> None:
    a, b = np.arange(-8, 8, dtype=np.int8)[::-1], np.arange(16, dtype=np.uint8)[::2].repeat(2) % 8
    np.testing.assert_array_equal(ExactSigned().netlist(4, 4).multiply(a, b), a.astype(int) * b)


def test_simulation_rows_are_the_nets() -> None:
    netlist = Exact().netlist(9, 9)
    pieces = list(netlist.all_pairs())
    assert [piece.shape for piece in pieces] == [(18, 1024)] * 4
    values = np.concatenate([netlist.simulate(piece) for piece in pieces], axis=1)
    assert values.shape == (len(netlist.nets), 1 << 12)
    assert [netlist.nets[row] for row in netlist.rows.values()] == list(netlist.rows)
    assert not values[0].any() and (~values[1] == 0).all()
    np.testing.assert_array_equal(values[netlist.rows[netlist.input_b[0]]], np.concatenate(pieces, axis=1)[9])
    products = integers([values[netlist.rows[net]] for net in netlist.outputs], 1 << 18, False)
    np.testing.assert_array_equal(products, np.multiply.outer(np.arange(512), np.arange(512)).ravel())


@pytest.mark.parametrize(
    ("gates", "outputs", "message"),
    [
        ((Gate("AND2", (2, 4), (5,)), Gate("INV", (5,), (4,))), (4,), r"gate 0 \(AND2\) uses net\(s\) \[4\]"),
        ((Gate("AND2", (2, 3), (5,)), Gate("OR2", (2, 3), (5,))), (5,), "drives net 5, which is already"),
        ((Gate("INV", (2,), (0,)),), (0,), "drives net 0"),
        ((Gate("INV", (3,), (2,)),), (2,), "drives net 2"),
        ((Gate("AND9", (2, 3), (5,)),), (5,), "is unknown"),
        ((Gate("AND2", (2,), (5,)),), (5,), "needs pins"),
        ((Gate("FA", (2, 3, 2), (5,)),), (5,), "needs pins"),
        ((), (9,), "the product uses"),
    ],
)
def test_malformed_netlists_are_refused(gates: tuple[Gate, ...], outputs: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Netlist("bad", (2,), (3,), outputs, gates)


def test_builder_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="widths must be >= 1"):
        NetlistBuilder("n", 0, 8)
    builder = NetlistBuilder("n", 1, 1)
    with pytest.raises(ValueError, match="unknown gate kind"):
        builder.gate("AND7", 2, 3)
    with pytest.raises(ValueError, match="AND2 has 2 inputs, got 1"):
        builder.gate("AND2", 2)


def test_builder_simplifies() -> None:
    builder = NetlistBuilder("n", 2, 2)
    x, y = builder.a[0], builder.b[0]
    assert builder.and2(x, 0) == 0 and builder.and2(x, 1) == x and builder.and2(x, x) == x
    assert builder.xor2(x, x) == 0 and builder.or2(x, builder.inv(x)) == 1
    assert builder.inv(builder.inv(x)) == x and builder.xor2(x, 1) == builder.inv(x)
    assert builder.and2(x, y) == builder.and2(y, x)
    assert builder.mux2(x, y, 0) == x and builder.mux2(x, y, 1) == y and builder.mux2(x, x, y) == x
    assert builder.full_add(x, y, 0) == builder.half_add(x, y)
    assert builder.full_add(x, 0, 0) == (x, 0)
    assert builder.full_add(x, y, 1) == (builder.xnor2(x, y), builder.or2(x, y))
    assert builder.any_of([]) == 0 and builder.any_of([x]) == x


def test_half_used_adders_become_simple_gates() -> None:
    def counts(pick: int, kind: str) -> dict[str, int]:
        builder = NetlistBuilder("n", 2, 1)
        nets = (*builder.a, *builder.b)[: len(GATE_KINDS[kind].inputs)]
        return builder.finish([builder.gate(kind, *nets)[pick]]).gate_counts()

    assert counts(0, "HA") == {"XOR2": 1}
    assert counts(1, "HA") == {"AND2": 1}
    assert counts(0, "FA") == {"XOR2": 2}
    assert counts(1, "FA") == {"NAND2": 2, "OAI21": 1}


def test_inversions_are_absorbed() -> None:
    builder = NetlistBuilder("n", 2, 2)
    (a, b), (c, d) = builder.a, builder.b
    outputs = [
        builder.inv(builder.and2(a, b)),
        builder.or2(builder.and2(a, c), builder.and2(b, d)),
        builder.inv(builder.or2(builder.and2(a, d), c)),
    ]
    assert builder.finish(outputs).gate_counts() == {"AOI21": 1, "NAND2": 4}


@pytest.mark.parametrize(
    ("outer", "inner", "counts"),
    [
        ("NAND2", "AND2", {"NAND3": 1}),
        ("NAND2", "OR2", {"OAI21": 1}),
        ("NOR2", "OR2", {"NOR3": 1}),
        ("NOR2", "AND2", {"AOI21": 1}),
        ("AND2", "AND2", {"INV": 1, "NAND3": 1}),
        ("OR2", "AND2", {"AOI21": 1, "INV": 1}),
    ],
)
def test_two_gates_become_one_cell(outer: str, inner: str, counts: dict[str, int]) -> None:
    for swapped in (False, True):
        builder = NetlistBuilder("n", 2, 1)
        (a, b), (c,) = builder.a, builder.b
        first = builder.gate(inner, a, b)[0]
        pins = (c, first) if swapped else (first, c)
        netlist = builder.finish(builder.gate(outer, *pins))
        assert netlist.gate_counts() == counts
        for x, y, z in itertools.product(range(2), repeat=3):
            expected = TRUTH[outer](TRUTH[inner](x, y)[0], z)[0]
            assert netlist.product_table()[x + 2 * y, z] == expected


def test_exact_multiplier_has_the_textbook_number_of_cells() -> None:
    assert Exact().netlist().gate_counts() == {"AND2": 64, "FA": 48, "HA": 8}
