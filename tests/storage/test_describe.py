"""The page about state and history is the schemas' own word."""

from storage.describe import MARK, PAGE, reference


def test_the_page_describes_every_column_as_it_is():
    """docs/history.md ends with what the schemas say; `python -m storage.describe` renews it."""
    above, _, below = PAGE.read_text(encoding="utf-8").partition(MARK)

    assert above.startswith("# State and history")
    assert below.strip() == reference().strip()
