"""Token buckets, and what counts what is open."""

from deployments.marketplace.buckets import Buckets, Counted, Rate


class Time:
    """A clock by hand."""

    now = 0.0

    def __call__(self):
        """The time."""
        return self.now


def test_a_bucket_gives_its_burst_and_then_its_rate():
    """Three at once, then one every half second; more than full it never gets."""
    clock = Time()
    buckets = Buckets(Rate(per_s=2, burst=3), clock)
    assert [buckets.take("a").is_granted for _ in range(4)] == [True, True, True, False]

    clock.now = 0.5
    assert [buckets.take("a").is_granted for _ in range(2)] == [True, False]
    clock.now = 100.0
    assert [buckets.take("a").is_granted for _ in range(4)] == [True, True, True, False]


def test_who_is_refused_is_told_how_long_to_wait():
    """Rounded up to a second that is long enough."""
    clock = Time()
    buckets = Buckets(Rate(per_s=0.1, burst=1), clock)
    buckets.take("a")
    refused = buckets.take("a")

    assert refused.headers["Retry-After"] == "10"
    clock.now = 10.0
    assert buckets.take("a").is_granted


def test_looking_takes_nothing():
    """However often."""
    buckets = Buckets(Rate(per_s=1, burst=1), Time())

    assert all(buckets.peek("a").is_granted for _ in range(5))
    assert buckets.take("a").is_granted
    assert not buckets.peek("a").is_granted


def test_buckets_are_bounded():
    """What was not used for longest is forgotten: that gives more, never less."""
    buckets = Buckets(Rate(per_s=1, burst=1), Time(), most=2)
    for name in ("a", "b", "c"):
        buckets.take(name)

    assert buckets.take("a").is_granted
    assert not buckets.take("c").is_granted


def test_a_clock_that_goes_back_takes_nothing_away():
    """It only gives nothing."""
    clock = Time()
    clock.now = 100.0
    buckets = Buckets(Rate(per_s=1, burst=2), clock)
    buckets.take("a")
    clock.now = 0.0

    assert buckets.take("a").is_granted


def test_what_is_open_is_bounded_for_each_and_for_all():
    """Who leaves makes room."""
    counted = Counted(most_each=1, most=2)
    assert [counted.enter(name) for name in ("a", "a", "b", "c")] == [True, False, True, False]
    counted.leave("a")

    assert counted.enter("c")
