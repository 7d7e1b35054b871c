"""jobs/study/definitions.py: the list of named studies."""

import pytest

from jobs.study import definitions
from jobs.study.definitions import STUDIES, Study, Sweep


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_made_and_says_what_it_asks(name):
    study = STUDIES[name]()
    assert STUDIES[name].__doc__
    made = {variant.name: study.settings(variant) for variant in study.variants}
    assert len(set(made.values())) == len(made)  # no variant is another under a second name
    for sweep in study.sweeps:
        assert len(set(study.setting(sweep).values())) == len(sweep.variants)


def test_a_study_of_unknown_or_repeated_variants_is_refused():
    for variants, reference, sweeps, pictured in [
        (("base", "base"), "base", (), ()), (("base",), "full", (), ()), (("base",), "base", (), ("na",)),
        (("base",), "base", (Sweep("alpha", ("na",)),), ()),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="each has to be there once"):
            Study("increc", definitions.presets(*variants), reference, sweeps, pictured=pictured)
