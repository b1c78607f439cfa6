/** A room at a relay that takes whatever its members make, and each member's view of it. */

import { expect } from "vitest";

import { type Answered, answerRequest, checkConfirm, makeAdmit } from "../src/e2e/admitting.ts";
import type { Content } from "../src/e2e/bodies.ts";
import { verifyChain } from "../src/e2e/chain.ts";
import type { Making } from "../src/e2e/controls.ts";
import { sealEvent } from "../src/e2e/events.ts";
import { makeGenesis } from "../src/e2e/genesis.ts";
import { inviteLink, makeInvite, parseLink } from "../src/e2e/invites.ts";
import { checkResponse, makeRequest } from "../src/e2e/joining.ts";
import { type MemberKeys, newMemberKeys } from "../src/e2e/keys.ts";
import { nextOf, seenOf } from "../src/e2e/log.ts";
import type { Made } from "../src/e2e/rekeying.ts";
import { take, type View } from "../src/e2e/view.ts";
import { hex } from "../src/protocol/bytes.ts";
import { eventId, randomBytes } from "../src/themis/index.ts";
import { RELAY_ID, URL_ } from "./rooms.ts";

export const NOW = 1_800_000_000_000;
export const DAY_MS = 24 * 3_600_000;

/** A room with its log, as a relay would keep it, and each member's view of it. */
export class Stage {
  readonly log: [number, Uint8Array][] = [];
  readonly views = new Map<string, View>();
  /** Where they are not empty: the cells of events, and the boxes of each member in hex, by seq. */
  readonly cells = new Map<number, Uint8Array>();
  readonly boxes = new Map<string, Uint8Array>();

  constructor(readonly root: MemberKeys = newMemberKeys()) {
    const { signed, view } = makeGenesis(root, RELAY_ID, NOW);
    this.log.push([0, signed.envelope]);
    this.views.set(hex(root.mid), view);
  }

  view(mine: MemberKeys): View {
    return this.views.get(hex(mine.mid)) as View;
  }

  making(mine = this.root): Making {
    const { state, log } = this.view(mine);
    return { state, mine, seen: seenOf(log), now: NOW };
  }

  /** The same room at another relay, which has all so far and goes on from here by itself. */
  branch(): Stage {
    const other = new Stage(this.root);
    other.log.splice(0, other.log.length, ...this.log);
    for (const name of ["views", "cells", "boxes"] as const) {
      const mine: Map<unknown, unknown> = other[name];
      for (const [key, value] of this[name]) mine.set(key, value);
    }
    return other;
  }

  get end(): number {
    return this.log.length - 1;
  }

  /** L at the end. */
  get hash(): Uint8Array {
    return this.view(this.root).log.log;
  }

  /** The relay takes a record and delivers it, each box to whom it is for. */
  post({ signed, boxes }: Made): void {
    const seq = this.log.length;
    this.log.push([seq, signed.envelope]);
    const listed = signed.record.type === "rekey_boxed" ? signed.record.boxes : [];
    for (const [mid, view] of this.views) {
      const at = listed.findIndex(([one]) => hex(one) === mid);
      const box = boxes[at];
      if (box !== undefined) this.boxes.set(`${mid} ${seq}`, box);
      const taken = take(view, seq, signed.envelope, undefined, box);
      expect(taken.troubles).toEqual([]);
      this.views.set(mid, taken.view);
    }
  }

  postAlone(signed: Made["signed"]): void {
    this.post({ signed, boxes: [] });
  }

  /** Somebody comes in by a link of `by`. */
  admit(by = this.root, home = RELAY_ID): MemberKeys {
    const { signed, code } = makeInvite(this.making(by), URL_, { expires: NOW + DAY_MS });
    this.postAlone(signed);
    const read = parseLink(inviteLink(code));
    const state = verifyChain(read.room, this.log);
    const joining = makeRequest(read, state, { home, now: NOW, name: "Bo" });
    const answered = this.answer(by, joining.request.envelope, code.token);
    const joined = checkResponse(joining, this.log, answered.response);
    expect(joined.welcome.room_name).toBe("Garden");
    const { state: now, keys } = this.view(by);
    const confirm = checkConfirm(now, keys, answered, joined.confirm.envelope);
    this.postAlone(makeAdmit(this.making(by), answered, confirm));
    const mine = joining.keys;
    const { state: after, log } = this.view(by);
    this.views.set(hex(mine.mid), {
      mine,
      state: after,
      keys: joined.keys,
      log,
      senders: new Map(),
    });
    return mine;
  }

  /** A member says something; its event id, and its sid, in hex. */
  say(
    mine: MemberKeys,
    content: Content,
    sid = randomBytes(16),
    seen = seenOf(this.view(mine).log),
  ): { id: string; sid: string } {
    const view = this.view(mine);
    const { state, keys, senders } = view;
    const next = nextOf(senders, state.room, mine.mid);
    const outgoing = { content, sid, ...next, ts: NOW, name: "", voids: [] };
    const { signed, cell } = sealEvent(state, mine, keys, outgoing, seen);
    const seq = this.log.length;
    this.log.push([seq, signed.envelope]);
    this.cells.set(seq, cell);
    for (const [mid, one] of this.views) {
      this.views.set(mid, take(one, seq, signed.envelope, cell).view);
    }
    return { id: hex(eventId(signed)), sid: hex(sid) };
  }

  answer(by: MemberKeys, request: Uint8Array, token: Uint8Array, earlier?: Answered): Answered {
    const telling = { names: new Map([[hex(by.mid), "Ana"]]), roomName: "Garden" };
    return answerRequest(this.making(by), this.view(by).keys, request, token, telling, earlier);
  }
}
