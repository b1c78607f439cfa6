/** The page is killed, or another tab takes the vault, anywhere in a move by force: nothing is lost, or twice. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";

import { text } from "../src/client/contents.ts";
import { Room } from "../src/client/room.ts";
import { Vault, VaultLocked } from "../src/client/vault.ts";
import type { SignedEvent } from "../src/e2e/events.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { makeBoxedRekey } from "../src/e2e/rekeying.ts";
import { take } from "../src/e2e/view.ts";
import { eventId, peek } from "../src/themis/index.ts";
import type { Request } from "../src/wire/link.ts";
import { browser, deliver, follow, forced, garden, linkTo, shownIn } from "./garden.ts";
import type { FakeLink } from "./rooms.ts";
import type { Stage } from "./stage.ts";

type Post = Extract<Request, { type: "post" }>;

/** The relay takes an event, unless it has it, and delivers it. */
function takes(room: Room, copy: Stage, { record, cell }: Post): object {
  const event = peek(record) as SignedEvent;
  const known = copy.log.find(([, one]) => one.every((byte, at) => byte === record[at]));
  const seq = known?.[0] ?? copy.log.length;
  if (known === undefined) {
    copy.log.push([seq, record]);
    copy.cells.set(seq, cell);
    for (const [mid, view] of copy.views) {
      const taken = take(view, seq, record, cell);
      expect(taken.troubles).toEqual([]);
      copy.views.set(mid, taken.view);
    }
    queueMicrotask(() => deliver(room, copy, seq));
  }
  return { type: "ack", event_id: eventId(event), seq, log: copy.hash };
}

/** The room at the new hub, whose links come as often as they go, until all is said there. */
async function goesOn(room: Room, copy: Stage, move: Uint8Array): Promise<void> {
  let link: FakeLink | undefined;
  const open = () => {
    const { core } = room as unknown as { core: { isOver: boolean } };
    if (core.isOver) return;
    room.detach();
    const fake = linkTo(room, copy, [move], (request) => {
      if (request.type === "sync") queueMicrotask(() => deliver(room, copy, request.start));
      return request.type === "post" ? takes(room, copy, request) : undefined;
    });
    link = fake;
    void fake.closed.then(open);
    void room.attach(fake.link, newMemberKeys().sign.public).catch(() => undefined);
  };
  open();
  const isSaid = () => {
    const isOver = (room as unknown as { core: { isOver: boolean } }).core.isOver;
    return isOver || (room.isLive && room.lastSeq === copy.end && !isWaiting(room));
  };
  try {
    await expect.poll(isSaid).toBe(true);
  } finally {
    room.close();
    link?.close();
  }
}

const isWaiting = (room: Room) => room.waiting().length > 0;

/** How far it comes if the vault is another's after so many turns; whether it was done before. */
async function killed(after: number): Promise<boolean> {
  const { stage, bo, cy } = garden();
  const { room, vault } = await browser(stage, bo);
  stage.say(bo, text("stays"));
  const copy = stage.branch();
  stage.say(bo, text("one"));
  stage.post(makeBoxedRekey(stage.making(), [cy.mid]));
  stage.say(bo, text("two"));
  stage.say(stage.root, text("of root"));
  await follow(room, stage);
  await room.send(text("three"));
  const move = forced(copy);
  copy.post(makeBoxedRekey(copy.making()));

  const inside = vault as unknown as { database: { name: string }; dek: Uint8Array };
  const [name, key] = [inside.database.name, inside.dek.slice()];
  const commit = vault.commit.bind(vault);
  let left = after;
  vi.spyOn(vault, "commit").mockImplementation((turn) => {
    left -= 1;
    return left < 0 ? Promise.reject(new VaultLocked()) : commit(turn);
  });
  await goesOn(room, copy, move);
  const isDone = left >= 0;

  const other = await Vault.openWith(name, key);
  onTestFinished(() => other.close());
  const again = new Room(other, room.id, () => undefined);
  await goesOn(again, copy, move);
  const opened = new Room(other, room.id, () => undefined);
  onTestFinished(() => opened.close());
  expect(await shownIn(opened)).toEqual(["stays", "one", "two", "three"]);
  expect((await opened.voided()).map((entry) => entry.text)).toEqual(["rekey_boxed", "of root"]);
  expect(opened.alarms).toEqual([expect.stringMatching(/^eviction_void /)]);
  expect([opened.waiting(), opened.saved.status, opened.state.members.size]).toEqual([
    [],
    "active",
    3,
  ]);
  expect(opened.cut).toEqual({ entries: 4, messages: 3, controls: 1, own: 2 });
  return isDone;
}

test("cut short between any two turns of the vault, all is as if it had not been", async () => {
  let after = 0;
  while (!(await killed(after))) after += 1;
  expect(after).toBeGreaterThan(5); // the cut, the move, the new key, and each of one's own words
}, 120_000);
