/** The browser of Bo, a plain member who follows Ana's room on a link that a test speaks for. */

import "fake-indexeddb/auto";

import { onTestFinished } from "vitest";

import { text } from "../src/client/contents.ts";
import type { RoomCore } from "../src/client/core.ts";
import { Room } from "../src/client/room.ts";
import type { Vault } from "../src/client/vault.ts";
import type { Content } from "../src/e2e/bodies.ts";
import type { Making } from "../src/e2e/controls.ts";
import { sealEvent } from "../src/e2e/events.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { nextOf, seenOf } from "../src/e2e/log.ts";
import { take, type View } from "../src/e2e/view.ts";
import { hex } from "../src/protocol/bytes.ts";
import type { RelayFrame } from "../src/protocol/frames.ts";
import { randomBytes } from "../src/themis/index.ts";
import type { Request } from "../src/wire/link.ts";
import { FakeLink, founded, keep, newVault, withMember } from "./rooms.ts";

interface Setting {
  /** The id of the relay that orders the room. */
  readonly hub?: Uint8Array;
  /** What the relay says in place of what follows from the log; undefined: just that. */
  readonly answer?: (request: Request) => object | undefined;
  /** Where Bo is at home; the room's relay, if nothing is said. */
  readonly home?: Uint8Array;
  /** Whose browser it is. */
  readonly who?: "ana" | "bo";
}

export async function following({ hub, answer, home, who = "bo" }: Setting = {}) {
  const made = await founded();
  const bo = newMemberKeys();
  const known = withMember({ state: made.state, mine: made.root }, bo, home && { home });
  const state = hub ? { ...known, relayId: hub } : known;
  /** The room as Ana has it: all that was delivered, and what she makes next. */
  let ana: View = { ...made.view, state };
  const vault = await newVault();
  await keep(vault, { ...ana, mine: who === "bo" ? bo : made.root });
  const id = hex(state.room);

  const honest = (request: Request): object | undefined => {
    const { seq, log } = ana.log;
    switch (request.type) {
      case "attach":
        return { type: "attached", seq, log, cursor: 0, counter: 0, last: undefined };
      case "sync":
        return { type: "synced", start: request.start, floor: 0, head: seq, log };
      case "post":
      case "control":
        return undefined;
      default:
        return { type: "done" };
    }
  };
  /** The page opened, or opened anew on the same vault; it attaches, which may wait for deliveries. */
  const open = async (isAwaited = true) => {
    const room = new Room(vault, id, () => undefined);
    onTestFinished(() => room.close());
    const link = new FakeLink((request) => answer?.(request) ?? honest(request));
    const attach = () => room.attach(link.link, newMemberKeys().sign.public);
    const attached = attach();
    if (isAwaited) await attached;
    const { core } = room as unknown as { core: RoomCore };
    /** Once all that came by now is taken in. */
    const settle = () => core.enqueue(async () => undefined);
    const deliver = async (
      record: Uint8Array,
      cell: Uint8Array = new Uint8Array(),
      seq = ana.log.seq,
    ) => {
      room.receive({ type: "delivery", room: state.room, seq, record, cell });
      await settle();
    };
    const hear = async (frame: object) => {
      room.receive({ room: state.room, ...frame } as RelayFrame);
      await settle();
    };
    return { room, core, link, attach, settle, deliver, hear };
  };

  /** What this member says next, as the next entry of the log; it is not delivered by itself. */
  const say = (
    keys: typeof bo,
    content: Content = text("hello"),
    sid: Uint8Array = randomBytes(16),
  ) => {
    const { signed, cell } = sealEvent(
      ana.state,
      keys,
      ana.keys,
      { content, sid, ts: 5, name: "", voids: [], ...nextOf(ana.senders, state.room, keys.mid) },
      seenOf(ana.log),
    );
    return { signed, cell, record: signed.envelope };
  };
  const append = (record: Uint8Array, cell?: Uint8Array, box?: Uint8Array) => {
    ana = take(ana, ana.log.seq + 1, record, cell, box).view;
  };
  return {
    ...(await open()),
    again: open,
    vault,
    state,
    ana: made.root,
    bo,
    say,
    append,
    get view(): View {
      return ana;
    },
    get making(): Making {
      return { state: ana.state, mine: made.root, seen: seenOf(ana.log), now: Date.now() };
    },
  };
}

/** The evidence that a room keeps. */
export const evidenceIn = (vault: Vault, id: string): Uint8Array[] =>
  vault.items(`evidence/${id}`).map(([, raw]) => raw);
