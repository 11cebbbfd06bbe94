"""The end of what `make up` started."""

import pytest

from tests.whole import processes_of, typed, until

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.xdist_group("epoch")]


def test_down_ends_everything(whole_up, whole_folder):
    """What `up` has told until then is there, and no process is left of it."""

    typed(whole_folder, "down")
    said, _ = whole_up.communicate(timeout=60)

    assert "cinder-2 HOST_KEY_MISMATCH" in said
    assert until(lambda: not processes_of(whole_folder), 10.0), processes_of(whole_folder)
