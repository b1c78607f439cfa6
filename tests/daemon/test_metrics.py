"""What is counted, and that a count tells of nobody."""

from __future__ import annotations

from pathlib import Path

import trio
from prometheus_client.parser import text_string_to_metric_families

from ofcd.daemon.metrics import Metrics
from ofcd.testing import open_world

LABELS = {"outcome", "type", "code", "le"}


def values(metrics: Metrics) -> dict[str, float]:
    """Samples by name, those of all labels added up."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


async def test_a_conversation_is_counted(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Links, rooms, entries and requests; a restart of the metrics is a restart of the relay."""
    async with open_world(tmp_path) as world:
        assert world.daemon is not None
        metrics = world.daemon.metrics
        assert not any(values(metrics).values())
        ana, bo = await world.client("ana"), await world.client("bo")
        tea = await ana.create_room(world.url, "tea", my_name="Ana")
        at_bo = await bo.join(await tea.invite(), name="Bo")
        await trio.sleep(60)
        before = values(metrics)
        await at_bo.send("hello")
        await trio.sleep(5)
        after = values(metrics)
        assert after["ofcd_links"] == 2
        assert after["ofcd_rooms_in_memory"] == 1
        assert after["ofcd_log_entries_total"] == before["ofcd_log_entries_total"] + 1
        assert after["ofcd_commit_seconds_count"] > before["ofcd_commit_seconds_count"]
        assert after["ofcd_link_messages_total"] > before["ofcd_link_messages_total"]
        assert after["ofcd_commit_failures_total"] == 0
        await world.stop_client("bo")
        await trio.sleep(60)
        assert values(metrics)["ofcd_links"] == 1


async def test_no_label_names_anybody(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Labels are of a small fixed set, and no id of a room, member or invite is in the text."""
    async with open_world(tmp_path) as world:
        assert world.daemon is not None
        ana = await world.client("ana")
        tea = await ana.create_room(world.url, "marker-room", my_name="marker-ana")
        await tea.send("marker-text")
        text = world.daemon.metrics.render().decode()
        (room,) = world.daemon.store.rooms()
    assert "marker" not in text
    assert room.room.hex() not in text
    labels = {
        name
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for name in sample.labels
    }
    assert labels <= LABELS


def test_two_relays_in_one_process_count_apart() -> None:
    """Each has a registry of its own."""
    one, other = Metrics(), Metrics()
    one.events.inc()
    assert values(one)["ofcd_log_entries_total"] == 1
    assert values(other)["ofcd_log_entries_total"] == 0
