"""The terms of G2SF's loss that count, by name (Table IV)."""

import pytest

from cmad.detectors import G2SF
from cmad.nn.g2sf_choices import Published
from cmad.nn.g2sf_training import TERMS, Weights


@pytest.mark.parametrize(
    ("losses", "terms"),
    [
        ("all", ("margin", "consistency", "scaling", "alignment")),
        ("none", ()),
        ("consistency, margin", ("consistency", "margin")),
    ],
)
def test_terms_are_chosen_by_name(losses, terms):
    assert G2SF.Training(losses=losses).terms() == terms


def test_an_unknown_term_is_named_with_the_known_ones():
    message = "losses must be all, none, or some of margin, consistency, .*, got 'seperation'"
    with pytest.raises(ValueError, match=message):
        G2SF.Training(losses="margin,seperation")


@pytest.mark.parametrize("term", TERMS)
def test_a_term_that_does_not_count_has_no_weight(term):
    everything = Weights.of(Published())
    without = Weights.of(Published(), [name for name in TERMS if name != term])
    changed = {n for n, v in vars(everything).items() if getattr(without, n) != v}
    assert changed == {TERMS[term]}
    assert getattr(without, TERMS[term]) == 0
