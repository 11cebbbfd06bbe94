"""Where a local system has its things."""

import pytest

from deployments.localnet.layout import Layout


@pytest.mark.parametrize("given", [{}, {"SUBNET_DATABASE_URL": "postgresql://me@db/state"}])
def test_writers_of_a_history_on_s3_are_kept_apart_by_the_state_that_counts(tmp_path, given):
    """On the local subnet that is its own, unless a PostgreSQL is named: else a command and an epoch would have two locks."""

    settings = Layout(tmp_path).settings({"SUBNET_HISTORY": "s3://archive/local", **given})

    assert str(settings.history) == "s3://archive/local"
    assert settings.history.bucket.locks == settings.database_url
