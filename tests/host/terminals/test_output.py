"""Bytes in, numbered pieces of text out."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from appliance.host.terminals.output import KEPT, PIECE, Output, Piece


def taken(output: Output, *, ended: bool = False) -> list[Piece]:
    pieces = []
    while (piece := output.next(ended=ended)) is not None:
        pieces.append(piece)
    return pieces


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_where_it_is_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    output = Output()
    shown = []
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for begin, end in pairwise(places):
        output.add(data[begin:end])
        shown += taken(output)
    shown += taken(output, ended=True)
    assert text(shown) == data.decode("utf-8", "replace")
    assert [piece.number for piece in shown] == list(range(1, len(shown) + 1))
    assert all(piece.text for piece in shown)


def test_much_comes_in_pieces_that_do_not_cut_characters() -> None:
    output = Output()
    output.add("€".encode() * PIECE)
    pieces = taken(output)
    assert len(pieces) == 3
    assert text(pieces) == "€" * PIECE
    assert output.held == 0


def test_what_is_no_text_becomes_a_replacement() -> None:
    output = Output()
    output.add(b"a\xff\xe2\x82")
    assert text(taken(output)) == "a�"
    assert taken(output) == []
    assert text(taken(output, ended=True)) == "�"
    assert taken(output, ended=True) == []


def test_what_was_shown_can_be_shown_again() -> None:
    output = Output()
    for word in (b"one", b"two", b"three"):
        output.add(word)
        taken(output)
    output.add(b"four")
    assert output.go_back(1)
    assert taken(output) == [Piece(2, "two"), Piece(3, "three"), Piece(4, "four")]
    assert output.go_back(4)
    assert taken(output) == []
    assert output.go_back(0)
    assert len(taken(output)) == 4


def test_what_is_not_kept_any_more_is_told() -> None:
    output = Output()
    pieces = []
    for _ in range(3 * KEPT // PIECE):
        output.add(b"x" * PIECE)
        pieces += taken(output)
    assert not output.go_back(1)
    again = taken(output)
    assert again == pieces[-(KEPT // PIECE) :]
    assert output.go_back(again[0].number - 1)
    assert output.go_back(pieces[-1].number + 5)
    assert taken(output)[-1:] in ([], again[-1:])
