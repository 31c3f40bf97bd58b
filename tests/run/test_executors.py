"""Which executor runs the jobs."""

import by_hand
import pytest

from ccdprofiles.errors import InputError


def test_a_negative_number_of_threads_is_refused(raw_night):
    with pytest.raises(InputError) as error:
        by_hand.reduce_night(raw_night, raw_night.parent / "out", profiles=[by_hand.SMALL], jobs=-1)
    assert str(error.value) == "jobs=-1 is not a number of threads; 0 uses all processors."
    assert not (raw_night.parent / "out").exists()
