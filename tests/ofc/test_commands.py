"""Each command does what it says, against a real relay in memory.

Tests that work with files do not name `autojump_clock`: files are read in threads, and the world's
clock would run away meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from ofcd.client import (
    BadInvite,
    NotAllowed,
    Offline,
    RelayRefused,
    SignalReceived,
    Stage,
    Vault,
    VaultExists,
)
from ofcd.ofc.console import Shape
from ofcd.ofc.errors import (
    Ambiguous,
    CommandError,
    FileMissing,
    NotKnown,
    TimedOut,
    UsageError,
    report_of,
)
from ofcd.ofc.runner import Host
from ofcd.relay.facts import Fact
from ofcd.store import DiskFull, Store
from tests.ofc.people import Recorder, Street


async def test_a_room_is_made_and_listed(street: Street, autojump_clock: MockClock) -> None:
    """The relay and the name are remembered for the next room."""
    ana = await street.person("ana")
    made = (await ana.ofc("create", "Club", "--name", "Ana", "--relay", street.world.url)).one(
        Shape.CREATED
    )
    again = (await ana.ofc("create", "Other")).one(Shape.CREATED)
    assert (made["name"], again["relay"]) == ("Club", street.world.url)
    rooms = (await ana.ofc("rooms")).of(Shape.ROOM)
    assert {(r["room"], r["name"], r["members"]) for r in rooms} == {
        (made["room"], "Club", 1),
        (again["room"], "Other", 1),
    }
    members = (await ana.ofc("members", "Other")).of(Shape.MEMBER)
    assert [(m["name"], m["role"], m["you"]) for m in members] == [("Ana", "root", True)]


async def test_an_address_that_is_none_is_wrong_usage(
    street: Street, autojump_clock: MockClock
) -> None:
    """No relay refused anything: nobody was asked."""
    ana = await street.person("ana")
    with pytest.raises(UsageError, match=r"must be wss:// .or ws://, not http") as failed:
        await ana.ofc("create", "Club", "--name", "Ana", "--relay", "http://relay.example")
    assert report_of(failed.value).exit == 2


async def test_two_people_talk(street: Street, autojump_clock: MockClock) -> None:
    """Invite, join, send, reply, read."""
    ana, bo = await street.pair()
    sent = (await ana.ofc("send", "Club", "hello", "Bo")).one(Shape.SENT)
    await bo.ofc("send", "Club", "--reply-to", str(sent["seq"]), "hello Ana")
    read = await ana.ofc("read", "Club")
    assert read.texts == ["hello Bo", "hello Ana"]
    first, second = [e for e in read.of(Shape.EVENT) if e["kind"] == "message"]
    assert (first["event_id"], first["seq"]) == (sent["event_id"], sent["seq"])
    assert second["reply_to"] == sent["event_id"]
    assert second["reply"]["text"] == "hello Bo"
    assert [(e["name"], e.get("mine", False)) for e in (first, second)] == [
        ("Ana", True), ("Bo", False),
    ]  # fmt: skip


async def test_read_takes_pages(street: Street, autojump_clock: MockClock) -> None:
    """--limit is the end of all, or with --since the beginning of what comes after."""
    ana, _ = await street.pair()
    seqs = [(await ana.ofc("send", "Club", str(n))).one(Shape.SENT)["seq"] for n in range(5)]
    assert (await ana.ofc("read", "Club", "--limit", "2")).texts == ["3", "4"]
    assert (await ana.ofc("read", "Club", "--since", str(seqs[1]))).texts == ["2", "3", "4"]
    since = await ana.ofc("read", "Club", "--since", str(seqs[1]), "--limit", "1")
    assert since.texts == ["2"]
    assert (await ana.ofc("read", "Club", "--since", str(seqs[4]))).records == []
    assert (await ana.ofc("read", "Club", "--limit", "0")).records == []
    assert (await ana.ofc("read", "Club", "--limit", "99")).texts == list("01234")


async def test_reading_marks_as_read(street: Street, autojump_clock: MockClock) -> None:
    """Unless told not to."""
    ana, bo = await street.pair()
    await ana.ofc("send", "Club", "hello")
    await bo.ofc("read", "Club", "--keep-unread")
    assert (await bo.ofc("rooms")).one(Shape.ROOM)["unread"] == 1
    await bo.ofc("read", "Club")
    assert (await bo.ofc("rooms")).one(Shape.ROOM)["unread"] == 0


async def test_without_a_relay_read_shows_what_is_here(
    street: Street, autojump_clock: MockClock
) -> None:
    """And then says that it may be old, with its own exit code."""
    ana, _ = await street.pair()
    await ana.ofc("send", "Club", "hello")
    await street.world.stop_relay()
    await trio.sleep(1)
    output = Recorder()
    with pytest.raises(Offline, match="can not be reached") as failed:
        await ana.run(output, "read", "Club")
    assert output.texts == ["hello"]
    assert report_of(failed.value).exit == 4
    local = await ana.ofc("read", "Club", "--local")
    assert (local.texts, local.notes) == (["hello"], [])


async def test_without_a_relay_a_message_is_kept(street: Street, autojump_clock: MockClock) -> None:
    """The person is told at once, waits no longer than asked, and it goes out later, once."""
    ana, bo = await street.pair()
    await street.world.stop_relay()
    await trio.sleep(1)
    output = Recorder()
    with pytest.raises(TimedOut, match=r"within 5 s.*kept and goes out"):
        await ana.run(output, "send", "Club", "later", "--timeout", "5")
    assert any("nothing answers there" in note for note in output.notes)
    await street.world.start_relay()
    tail = street.start(bo, "tail", "Club", "--since", "0")
    await tail.until_text("later")
    await trio.sleep(60)
    assert tail.texts == ["later"]


async def test_a_message_is_kept_where_the_relay_says_nothing_at_all(
    street: Street, autojump_clock: MockClock
) -> None:
    """Neither there nor known to be gone: it is queued all the same, and `read` sends it."""
    ana, bo = await street.pair()
    line = street.world.lines["ana"]
    line.hold()
    line.cut()
    await trio.sleep(1)
    with pytest.raises(TimedOut, match=r"within 8 s.*kept and goes out"):
        await ana.ofc("send", "Club", "later", "--timeout", "8")
    assert [item.stage for item in ana.client.rooms[0].outbox()] == [Stage.QUEUED]
    line.release()
    assert (await ana.ofc("read", "Club")).texts == ["later"]
    assert (await bo.ofc("read", "Club")).texts == ["later"]


async def test_a_relay_that_puts_a_message_off_is_quoted(
    street: Street, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, and can not take it: its reason is told, not that there was no answer."""
    ana, _ = await street.pair()

    def full(store: Store, facts: Sequence[Fact]) -> None:
        raise DiskFull("no space is left for the database")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit", full)
        with pytest.raises(TimedOut, match=r"5 s: ws://.* says: the relay could not store") as late:
            await ana.ofc("send", "Club", "later", "--timeout", "5")
        assert "no answer" not in str(late.value)
    await ana.ofc("send", "Club", "now")
    assert (await ana.ofc("read", "Club")).texts == ["later", "now"]


async def test_a_relay_that_can_not_store_a_file_is_quoted(
    street: Street, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its disk is full: that is said, with the code; and not of the next command, which works."""
    ana, _ = await street.pair()
    (tmp_path / "a.txt").write_text("a")
    file = ("send", "Club", "--file", str(tmp_path / "a.txt"), "--timeout")

    def full(store: Store, facts: Sequence[Fact]) -> None:
        raise DiskFull("no space is left for the database")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit", full)
        with pytest.raises(TimedOut, match=r"could not store.* \(storage_failed\)") as late:
            await ana.ofc(*file, "2")
        assert "no answer" not in str(late.value)
        assert "send it again later" in str(late.value)
        ana.client.patience = 1.5
        with pytest.raises(Offline, match=r"puts it off: .*\(storage_failed\)"):
            await ana.client.rooms[0].upload(b"a", name="a")
    await ana.ofc(*file, "60")
    await street.world.stop_relay()
    with pytest.raises(TimedOut) as late:
        await ana.ofc(*file, "1")
    assert "storage_failed" not in str(late.value)


async def test_a_file_that_is_too_large_is_told_the_limit(street: Street, tmp_path: Path) -> None:
    """At its first piece, and not after all the others."""
    ana, _ = await street.pair()
    with (tmp_path / "large.bin").open("wb") as large:
        large.truncate((64 << 20) + (256 << 10) + 1)
    with pytest.raises(RelayRefused, match="at most 64 MiB") as refused:
        await ana.ofc("send", "Club", "--file", str(tmp_path / "large.bin"))
    assert refused.value.code == "quota"


async def test_a_file_that_was_not_sent_is_not_said_to_be_kept(
    street: Street, tmp_path: Path
) -> None:
    """Unlike a message, it waits in no outbox; and one that is not there is told from a refusal."""
    ana, _ = await street.pair()
    with pytest.raises(FileMissing, match="there is no file at") as failed:
        await ana.ofc("send", "Club", "--file", str(tmp_path / "none.txt"))
    assert report_of(failed.value).exit == 3
    (tmp_path / "a.txt").write_text("a")
    await street.world.stop_relay()
    with pytest.raises(TimedOut, match="send it again later") as late:
        await ana.ofc("send", "Club", "--file", str(tmp_path / "a.txt"), "--timeout", "1")
    assert "kept" not in str(late.value)


async def test_who_joins_is_called_by_name_at_once(
    street: Street, autojump_clock: MockClock
) -> None:
    """The name comes a moment after the joining: that moment is waited for, by all who look on."""
    ana, bo = await street.pair()
    cy = await street.person("cy")
    street.world.lines["cy"].delay = lambda: 0.3
    looking = [street.start(ana, "serve"), street.start(bo, "tail", "Club")]
    await trio.sleep(1)
    invited = await ana.ofc("invite", "Club")
    await cy.ofc("join", invited.one(Shape.INVITE)["link"], "--name", "Cy")
    await trio.sleep(30)
    for output in looking:
        [joined] = [e for e in output.of(Shape.EVENT) if e["kind"] == "joined"]
        assert [who["name"] for who in joined["subjects"]] == ["Cy"]


async def test_tail_shows_what_comes_until_one_is_out(
    street: Street, autojump_clock: MockClock
) -> None:
    """Messages, evictions; then it ends with the reason."""
    ana, bo = await street.pair()
    output, ended = Recorder(), trio.Event()

    async def tail() -> None:
        with pytest.raises(NotAllowed, match="you are out of Club"):
            await bo.run(output, "tail", "Club")
        ended.set()

    street.nursery.start_soon(tail)
    await trio.testing.wait_all_tasks_blocked()
    await ana.ofc("send", "Club", "now")
    await output.until_text("now")
    await ana.ofc("evict", "Club", "Bo", "--reason", "test")
    with trio.fail_after(60):
        await ended.wait()
    assert output.texts == ["now"]
    assert output.of(Shape.EVENT)[-1]["state"] == "evicted"


async def test_a_file_goes_and_comes(street: Street, tmp_path: Path) -> None:
    """Byte for byte, with progress on both sides, under a harmless name."""
    ana, bo = await street.pair()
    source = tmp_path / "pic.png"
    source.write_bytes(bytes(range(256)) * 3000)
    sent = await ana.ofc("send", "Club", "--file", str(source), "a caption")
    assert sent.progressed[-1] == ("pic.png", 768_000, 768_000)
    read = await bo.ofc("read", "Club", "--save", str(tmp_path / "got"))
    [event] = [e for e in read.of(Shape.EVENT) if e["kind"] == "file"]
    assert (event["text"], event["file"]["size"]) == ("a caption", 768_000)
    assert event["file"]["type"] == "image/png"
    saved = await trio.Path(event["file"]["saved"]).read_bytes()
    assert saved == source.read_bytes()
    assert read.progressed[-1][1:] == (768_000, 768_000)


async def test_a_missing_file_is_named(street: Street, tmp_path: Path) -> None:
    """Before anything is sent."""
    ana, _ = await street.pair()
    with pytest.raises(CommandError, match="there is no file"):
        await ana.ofc("send", "Club", "--file", str(tmp_path / "nope"))


async def test_nothing_to_send_is_refused(street: Street, autojump_clock: MockClock) -> None:
    """White space is nothing."""
    ana, _ = await street.pair()
    with pytest.raises(UsageError, match="nothing to send"):
        await ana.ofc("send", "Club", "  ")


async def test_keys_and_roles(street: Street, autojump_clock: MockClock) -> None:
    """rotate, grant, evict: what each says is so afterwards."""
    ana, _ = await street.pair()
    assert (await ana.ofc("rotate", "Club")).one(Shape.CHANGED)["epoch"] == 1
    assert (await ana.ofc("rotate", "Club", "--boxed")).one(Shape.CHANGED)["epoch"] == 2
    await ana.ofc("grant", "Club", "Bo", "co-owner", "--cap", "admit")
    member = (await ana.ofc("members", "Club")).of(Shape.MEMBER)[1]
    assert (member["name"], member["role"], member["caps"]) == ("Bo", "co-owner", ["admit"])
    await ana.ofc("grant", "Club", "Bo", "readonly")
    member = (await ana.ofc("members", "Club")).of(Shape.MEMBER)[1]
    assert (member["role"], member["caps"]) == ("readonly", ["admit"])
    gone = (await ana.ofc("evict", "Club", member["member"][:6])).one(Shape.CHANGED)
    assert (gone["member"], gone["epoch"]) == (member["member"], 3)
    assert len((await ana.ofc("members", "Club")).of(Shape.MEMBER)) == 1


async def test_a_member_may_not_do_what_owners_do(
    street: Street, autojump_clock: MockClock
) -> None:
    """With the code that says so, and its exit code."""
    _, bo = await street.pair()
    for words in (("evict", "Club", "Ana"), ("rotate", "Club"), ("invite", "Club")):
        with pytest.raises(NotAllowed) as refused:
            await bo.ofc(*words)
        assert report_of(refused.value).code == "forbidden"
        assert report_of(refused.value).exit == 5


async def test_a_room_is_handed_over_and_left(street: Street, autojump_clock: MockClock) -> None:
    """Offer, consent, done; then the former owner can go."""
    ana, bo = await street.pair()
    with pytest.raises(NotAllowed, match="hand the room over"):
        await ana.ofc("leave", "Club")
    with pytest.raises(CommandError, match="nobody offers"):
        await bo.ofc("hand-over", "Club", "--accept")
    offer = street.start(ana, "hand-over", "Club", "Bo")
    await offer.until_note("Offered")
    await bo.ofc("hand-over", "Club", "--accept")
    members = (await bo.ofc("members", "Club")).of(Shape.MEMBER)
    assert [(m["name"], m["role"]) for m in members] == [("Bo", "root"), ("Ana", "co-owner")]
    left = (await ana.ofc("leave", "Club")).one(Shape.CHANGED)
    assert left["status"] == "left"


async def test_another_relay_is_named_by_its_id(street: Street, autojump_clock: MockClock) -> None:
    """What is no id is refused before anything is done; at home already, nothing is."""
    ana, _ = await street.pair()
    url = ana.client.rooms[0].relay_url
    with pytest.raises(UsageError, match="64 hex digits"):
        await ana.ofc("home", "Club", url, "--relay-id", "beef")
    head = ana.client.rooms[0].head
    with pytest.raises(UsageError, match="ws://"):
        await ana.ofc("home", "Club", "banana")
    moved = (await ana.ofc("home", "Club", url)).one(Shape.CHANGED)
    assert (moved["relay"], moved["did"].split(",")[0]) == (url, f"you are at home at {url} now")
    assert ana.client.rooms[0].head == head


async def test_a_relay_that_is_not_there_is_the_one_that_is_waited_for(
    street: Street, autojump_clock: MockClock
) -> None:
    """Not the room's own, which is; and the way back is told."""
    ana, _ = await street.pair()
    output = Recorder()
    with pytest.raises(TimedOut, match=r"no answer from wss://gone\.test .*go back") as failed:
        await ana.run(output, "home", "Club", "wss://gone.test", "--timeout", "8")
    assert report_of(failed.value).exit == 4
    assert any("wss://gone.test: nothing answers there" in note for note in output.notes)
    with pytest.raises(TimedOut, match=r"no answer from wss://gone\.test"):
        await ana.ofc("move", "Club", "wss://gone.test", "--timeout", "8")


async def test_a_room_stays_unless_its_root_moves_it(
    street: Street, autojump_clock: MockClock
) -> None:
    """Where it is already, nothing is done; who is not root is refused."""
    ana, bo = await street.pair()
    url, head = ana.client.rooms[0].relay_url, ana.client.rooms[0].head
    moved = (await ana.ofc("move", "Club", url)).one(Shape.CHANGED)
    assert (moved["relay"], moved["relay_id"]) == (url, ana.client.rooms[0].relay_id.hex())
    assert ana.client.rooms[0].head == head
    with pytest.raises(NotAllowed):
        await bo.ofc("move", "Club", url)


async def test_both_sides_see_the_same_code(street: Street, autojump_clock: MockClock) -> None:
    """`verify` on each side, with the other's name."""
    ana, bo = await street.pair()
    mine = (await ana.ofc("verify", "Club", "Bo")).one(Shape.VERIFY)
    theirs = (await bo.ofc("verify", "Club", "Ana")).one(Shape.VERIFY)
    assert mine["code"] == theirs["code"]
    assert mine["safety_number"] == theirs["safety_number"]
    assert mine["safety_number"].startswith(mine["code"])
    with pytest.raises(UsageError, match="that is you"):
        await ana.ofc("verify", "Club", "Ana")


async def test_a_join_waits_for_the_owner(street: Street, autojump_clock: MockClock) -> None:
    """It says so, goes on where it stood when it is asked again, and names the room."""
    ana, bo = await street.person("ana"), await street.person("bo")
    await ana.ofc("create", "Club", "--name", "Ana", "--relay", street.world.url)
    link = (await ana.ofc("invite", "Club")).one(Shape.INVITE)["link"]
    await street.world.stop_client("ana")
    output = Recorder()
    with pytest.raises(TimedOut, match="The join is kept"):
        await bo.run(output, "join", link, "--name", "Bo", "--timeout", "20")
    await output.until_note("Waiting for someone who may admit you")
    assert any("also joining" in note for note in (await bo.ofc("rooms")).notes)
    await street.person("ana")
    joined = (await bo.ofc("join", link)).one(Shape.JOINED)
    assert joined["name"] == "Club"
    again = (await bo.ofc("join", link)).one(Shape.JOINED)
    assert again == joined


async def test_who_was_evicted_while_away_comes_back_by_a_new_invite(
    street: Street, autojump_clock: MockClock
) -> None:
    """`ofc join` on the same vault: one room, with what was read before and a new member id."""
    ana, bo = await street.pair()
    await bo.ofc("send", "Club", "before")
    old = (await bo.ofc("members", "Club")).of(Shape.MEMBER)[1]["member"]
    await street.world.stop_client("bo")
    await ana.ofc("evict", "Club", "Bo")
    bo = await street.person("bo")
    link = (await ana.ofc("invite", "Club")).one(Shape.INVITE)["link"]
    joined = (await bo.ofc("join", link)).one(Shape.JOINED)
    assert joined["member"] != old
    await bo.ofc("send", "Club", "back")
    assert len((await bo.ofc("rooms")).of(Shape.ROOM)) == 1
    assert (await bo.ofc("read", "Club")).texts == ["before", "back"]


async def test_an_invite_waits_to_be_used(street: Street, autojump_clock: MockClock) -> None:
    """--wait ends with the newcomer's admission, and neither another's words nor time end it."""
    ana, bo = await street.pair()
    waiting = street.start(ana, "invite", "Club", "--wait", "--bot")
    await waiting.until_note("Waiting for it to be used")
    await trio.sleep(40)
    await bo.ofc("send", "Club", "meanwhile")
    cy = await street.person("cy")
    await cy.ofc("join", waiting.one(Shape.INVITE)["link"], "--name", "Cy")
    joined = await waiting.until_event(lambda e: e["kind"] == "joined")
    assert joined["caps"] == ["bot"]
    member = (await ana.ofc("members", "Club")).of(Shape.MEMBER)[2]
    assert (member["name"], member["caps"]) == ("Cy", ["bot"])


async def test_an_invite_waits_no_longer_than_it_is_told_to(
    street: Street, autojump_clock: MockClock
) -> None:
    """With --timeout."""
    ana, _ = await street.pair()
    with pytest.raises(TimedOut, match=r"within 60 s.*stays good"):
        await ana.ofc("invite", "Club", "--wait", "--timeout", "60")


async def test_a_damaged_link_is_said_to_be_one(street: Street, autojump_clock: MockClock) -> None:
    """Without asking any relay."""
    bo = await street.person("bo")
    with pytest.raises(BadInvite, match="ofc1"):
        await bo.ofc("join", "https://relay.test/#nothing")


async def test_serve_tells_who_came(street: Street, autojump_clock: MockClock) -> None:
    """With the room's name, for all rooms."""
    ana, bo = await street.person("ana"), await street.person("bo")
    await ana.ofc("create", "Club", "--name", "Ana", "--relay", street.world.url)
    serving = street.start(ana, "serve")
    await serving.until_note("Online for 1 room:")
    link = (await ana.ofc("invite", "Club")).one(Shape.INVITE)["link"]
    await bo.ofc("join", link, "--name", "Bo")
    joined = await serving.until_event(lambda e: e["kind"] == "joined")
    assert joined["in"] == "Club"
    await street.world.stop_relay()
    await trio.sleep(120)
    await street.world.start_relay()
    await serving.until_note("is back")
    assert len([note for note in serving.notes if "can not be reached" in note]) == 1


async def test_serve_outlasts_more_events_than_it_can_tell(
    street: Street, autojump_clock: MockClock
) -> None:
    """It passes over what came too fast, and goes on telling; it never ends by itself."""
    ana, _ = await street.pair()
    serving = street.start(ana, "serve")
    await serving.until_note("Online for 1 room:")
    [room] = ana.client.rooms
    for number in range(2000):
        ana.client._hub.tell([SignalReceived(room.id, room.me, f"{number}")])
    await trio.sleep(1)
    await ana.ofc("evict", "Club", "Bo")
    await serving.until_event(lambda e: e["kind"] == "evicted")


async def test_a_command_does_not_wait_for_the_next_try(
    street: Street, autojump_clock: MockClock
) -> None:
    """After a long absence tries are minutes apart; who types a command has one at once."""
    ana, _ = await street.pair()
    await street.world.stop_relay()
    await trio.sleep(1800)
    await street.world.start_relay()
    before = trio.current_time()
    assert "joined" in (await ana.ofc("read", "Club")).kinds
    assert trio.current_time() - before < 5


async def test_a_room_is_exported_whole(street: Street, autojump_clock: MockClock) -> None:
    """What everybody said and did, and a warning."""
    ana, bo = await street.pair()
    await ana.ofc("send", "Club", "one")
    await bo.ofc("send", "Club", "two")
    export = await ana.ofc("export", "Club")
    assert export.texts == ["one", "two"]
    assert export.kinds[0] == "founded"
    assert "joined" in export.kinds
    assert any("not encrypted" in note for note in export.notes)


async def test_a_backup_opens_with_the_same_secret(street: Street, tmp_path: Path) -> None:
    """Taken while the client runs; it replaces nothing without being told to."""
    ana, _ = await street.pair()
    saved = (await ana.ofc("backup", str(tmp_path / "b.vault"))).one(Shape.CHANGED)
    assert saved["bytes"] == (tmp_path / "b.vault").stat().st_size
    with pytest.raises(VaultExists, match="--force"):
        await ana.ofc("backup", str(tmp_path / "b.vault"))
    await ana.ofc("backup", str(tmp_path / "b.vault"), "--force")
    Vault.open(tmp_path / "b.vault", bytes(range(32))).close()


async def test_words_that_mean_nothing_or_too_much(
    street: Street, autojump_clock: MockClock
) -> None:
    """A sentence with what there is."""
    ana, _ = await street.pair()
    await ana.ofc("create", "Club")
    with pytest.raises(Ambiguous, match="Club"):
        await ana.ofc("read", "Club")
    with pytest.raises(NotKnown, match="there is Club"):
        await ana.ofc("read", "Pub")
    room = (await ana.ofc("rooms")).of(Shape.ROOM)[0]["room"]
    with pytest.raises(NotKnown, match="no message '99'"):
        await ana.ofc("send", room[:10], "x", "--reply-to", "99")
    with pytest.raises(NotKnown, match="no message"):
        await ana.ofc("send", room, "x", "--reply-to", "ab" * 32)


async def test_what_needs_the_vault_itself_is_not_handed_over(
    street: Street, autojump_clock: MockClock
) -> None:
    """No passphrase crosses the socket, so these commands do not either."""
    from ofcd.ofc.agent import Request
    from ofcd.ofc.inputs import no_input

    ana = await street.person("ana")
    for name in ("passphrase", "restore", "nonsense"):
        with pytest.raises(CommandError, match="can be handed over"):
            await Host(ana.client).handle(Request(name, {}), Recorder(), no_input())
