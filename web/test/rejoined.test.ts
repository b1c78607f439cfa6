/** Who was admitted in what is void comes back by a new invite: what came to nothing is still shown. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test } from "vitest";

import { checkPast, earlierState, enter } from "../src/client/arriving.ts";
import { text } from "../src/client/contents.ts";
import type { Relay } from "../src/client/relays.ts";
import { Room } from "../src/client/room.ts";
import type { PendingJoin } from "../src/client/saved.ts";
import { AHEAD, Tables } from "../src/client/tables.ts";
import { Turn } from "../src/client/vault.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { makeBoxedRekey } from "../src/e2e/rekeying.ts";
import { fromHex } from "../src/protocol/bytes.ts";
import { isControl } from "../src/protocol/records.ts";
import type { RoomState } from "../src/protocol/room.ts";
import { peek } from "../src/themis/index.ts";
import { browser, follow, forced, garden, linkTo } from "./garden.ts";
import { RELAY_ID, URL_ } from "./rooms.ts";

test("what is void is there still, and is void no more once it is said again", async () => {
  const { stage } = garden();
  const copy = stage.branch();
  const di = stage.admit();
  const { room, vault } = await browser(stage, di);
  const said = stage.say(stage.root, text("of root"));
  stage.say(di, text("of Di"));
  await follow(room, stage);
  await room.markRead(room.lastSeq);
  room.detach();
  await room.attach(linkTo(room, copy, [forced(copy)]).link, newMemberKeys().sign.public);
  const { cut } = room;
  expect([room.saved.reason, cut?.messages]).toEqual(["admission_void", 2]);
  room.close();

  copy.post(makeBoxedRekey(copy.making()));
  const view = copy.view(copy.admit());
  const turn = new Turn(vault);
  const relay = { url: URL_, relayId: RELAY_ID } as Relay;
  const code = { room: view.state.room, relayUrl: URL_ };
  const pending = { joining: { code }, roomName: "", name: "Di", names: [] } as unknown;
  const chain = copy.log.filter(([, raw]) => isControl(peek(raw).record));
  enter(turn, relay, pending as PendingJoin, { view, historyFrom: copy.end + 1, chain });
  await vault.commit(turn);
  const again = new Room(vault, room.id, () => undefined);
  onTestFinished(() => again.close());
  expect([again.saved.status, again.cut]).toEqual(["active", cut]);
  expect(await again.voided()).toMatchObject([{ text: "of root" }, { text: "of Di" }]);
  expect(vault.get(new Tables(room.id).state, AHEAD)).toBeUndefined(); // it stands in the log now
  copy.say(copy.root, text("of root"), fromHex(said.sid));
  await follow(again, copy);
  expect(await again.voided()).toMatchObject([{ text: "of Di" }]);
  expect((await again.history()).at(-1)).toMatchObject({ text: "of root", again: true });
});

test("who was not there when it was told goes back by what a new invite shows, and may come in by that", async () => {
  const { stage } = garden();
  const copy = stage.branch();
  const di = stage.admit();
  const { room, vault } = await browser(stage, di);
  stage.say(di, text("of Di"));
  await follow(room, stage);
  room.detach(); // and its relay is gone
  const move = forced(copy);
  const chain = copy.log.filter(([, raw]) => isControl(peek(raw).record));
  const check = () =>
    checkPast(room.state.room, chain, (earlierState(vault, room.id) as RoomState).ctl);
  expect(check).toThrow(expect.objectContaining({ fault: "bad_chain" }));
  await room.learn([move]);
  expect(check).not.toThrow();
  expect([room.saved.reason, room.cut?.messages]).toEqual(["admission_void", 1]);
  expect(room.waiting().map(({ content }) => content)).toMatchObject([{ text: "of Di" }]);
});
