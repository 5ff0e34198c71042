"""A mention that came without what makes it one: read again with the whole list, within four weeks."""

from faults import FaultProxy, Schedule
from serve_blog import Blog, Nights


def test_a_damaged_webmention_is_made_good_within_four_weeks():
    nights, calm = Nights("/api/mentions.jf2"), Nights("/api/mentions.jf2")
    with Blog() as blog:
        calm.read(blog.base, 0)
        schedule = Schedule.seeded(3, rate=1.0, kinds=["field_missing"], fields=("author",))
        with FaultProxy(blog.base, schedule) as proxy:
            nights.read(proxy.base, 0)
            assert nights.settled()["interactions"].height == 1197
            proxy.schedule = Schedule()
            nights.read(proxy.base, 1)
            assert nights.settled()["interactions"].height == 1197, "not asked for again yet"
            nights.read(proxy.base, 28)
    assert nights.settled()["interactions"].equals(calm.settled()["interactions"])
    assert nights.statuses()[-1] == "ok"
