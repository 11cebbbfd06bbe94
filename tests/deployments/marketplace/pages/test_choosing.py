"""Which machines are the best for their money, and where they stand in the picture: rules over hand-made offers."""

from hypothesis import example, given
from hypothesis import strategies as st

from deployments.marketplace.pages.choosing import Choice, with_best
from deployments.marketplace.pages.plot import HEIGHT, LEAST_GB_S, LINKED, OTHERS, WIDTH, plot_of
from deployments.marketplace.views import offer as viewed
from tests.tasks.renting.leases import offer

FIGURES = st.tuples(st.integers(0, 5), st.integers(0, 5))


def choice(price, gb_s, name="a", model="L4"):
    """A machine at a price with a proved bandwidth."""
    view = viewed(offer(f"5Miner/{name}", model=model), 2)
    return Choice(view.model_copy(update={"bandwidth_gb_s": float(gb_s)}), price)


@given(st.lists(FIGURES, max_size=30))
def test_the_best_are_those_that_no_other_one_beats(figures):
    """Naively: nobody is at least as good in both and better in one; a machine without a bandwidth is none of them."""
    choices = with_best(choice(price, gb_s, f"m{n}") for n, (price, gb_s) in enumerate(figures))

    def is_beaten(price, gb_s):
        return any(p <= price and g >= gb_s and (p, g) != (price, gb_s) for p, g in figures)

    assert [one.is_best for one in choices] == [
        gb_s > 0 and not is_beaten(price, gb_s) for price, gb_s in figures
    ]


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 10**5)), min_size=1, max_size=30))
@example([(1, 1.9e-300)])
def test_every_point_is_inside_the_picture(figures):
    """Whatever the prices; machines without a price or a bandwidth are counted instead."""
    drawn = plot_of([choice(price, gb_s, f"m{n}") for n, (price, gb_s) in enumerate(figures)])
    placed = [price > 0 and gb_s >= LEAST_GB_S for price, gb_s in figures]

    assert (drawn is None) is not any(placed)
    if drawn:
        assert len(drawn.points) + drawn.left_out == len(figures)
        assert all(0 < point.x < WIDTH and 0 < point.y < HEIGHT for point in drawn.points)


def test_dearer_is_to_the_right_and_faster_is_higher():
    """By logarithms: twice as much is as far everywhere; the line goes up in steps through the best."""
    drawn = plot_of(
        with_best([choice(10**6, 300, "a"), choice(2 * 10**6, 600, "b"), choice(4 * 10**6, 1_200, "c")])
    )
    a, b, c = drawn.points

    assert abs((b.x - a.x) - (c.x - b.x)) <= 0.2
    assert abs((a.y - b.y) - (b.y - c.y)) <= 0.2
    assert drawn.frontier.split(" ")[:3] == [f"{a.x},{a.y}", f"{b.x},{a.y}", f"{b.x},{b.y}"]
    assert [tick.text for tick in drawn.across] == ["1", "2"]
    assert [tick.text for tick in drawn.up] == ["500", "1,000"]


def test_the_most_frequent_models_have_colours_of_their_own():
    """The others share one, and the legend says so."""
    choices = [choice(10**6, 300, f"{n}-{k}", model=f"model {n}") for n in range(9) for k in range(10 - n)]
    drawn = plot_of(choices)

    assert [name for _, name in drawn.legend] == [*(f"model {n}" for n in range(7)), OTHERS]
    assert {point.series for point in drawn.points if point.choice.offer.model in ("model 7", "model 8")} == {
        7
    }


def test_many_points_are_dots_until_somebody_points_at_them():
    """300 machines are 300 links; of 301 the best are links, and the others one path for each model."""
    few = plot_of(with_best(choice(10**6 + n, 300, f"m{n}") for n in range(LINKED)))
    many = plot_of(with_best(choice(10**6 + n, 300, f"m{n}", f"model {n % 2}") for n in range(LINKED + 1)))

    assert (len(few.linked), few.others, few.dots) == (LINKED, (), ())
    assert [point.choice.is_best for point in many.linked] == [True]
    assert len(many.others) == LINKED
    assert sum(dots.path.count("M") for dots in many.dots) == LINKED
    assert {dots.series for dots in many.dots} == {0, 1}
