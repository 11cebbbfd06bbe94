"""Foreign text on pages."""

from deployments.marketplace.pages.words import coded


def test_what_stands_between_backticks_is_a_command():
    """All else stays text, a backtick without its partner too."""
    assert coded("run `a <b>` & `c`", 80) == "run <code>a &lt;b&gt;</code> &amp; <code>c</code>"
    assert coded("a ` <i>", 80) == "a ` &lt;i&gt;"
    assert coded("`" + "x" * 99, 9) == "`xxxx…xxx"
