/** Joins answered and asked for: nobody keeps a key unnoticed, nobody loses their own. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { AdmissionDesk } from "../src/client/admissions.ts";
import { ControlDesk } from "../src/client/controldesk.ts";
import { RoomCore } from "../src/client/core.ts";
import { Joins } from "../src/client/joins.ts";
import type { Relays } from "../src/client/relays.ts";
import { json } from "../src/client/saved.ts";
import { saveNewRoom } from "../src/client/tables.ts";
import { Turn, Vault } from "../src/client/vault.ts";
import { makeGenesis } from "../src/e2e/genesis.ts";
import { inviteLink, makeInvite } from "../src/e2e/invites.ts";
import { makeRequest } from "../src/e2e/joining.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { seenOf } from "../src/e2e/log.ts";
import { take } from "../src/e2e/view.ts";
import { hex } from "../src/protocol/bytes.ts";
import type { RecordOf } from "../src/protocol/records.ts";
import { type Link, RelayRefused } from "../src/wire/link.ts";

async function founded(name: string) {
  const vault = await Vault.create(name, "so geheim");
  const [root, relayId, now] = [newMemberKeys(), new Uint8Array(32).fill(7), Date.now()];
  const { signed, view } = makeGenesis(root, relayId, now);
  const { room } = view.state;
  const making = { state: view.state, mine: root, seen: seenOf(view.log), now };
  const { signed: opened, code } = makeInvite(making, "ws://r", { expires: now + 9e6 });
  const after = take(view, 1, opened.envelope).view;
  const place = { room, url: "ws://r", relayId, genesis: undefined, createToken: "" };
  const told = { name: "", myName: "", readUpTo: 0, status: "active" as const, reason: "" };
  const turn = new Turn(vault);
  saveNewRoom(turn, { ...place, ...told }, after);
  await vault.commit(turn);
  return { vault, code, state: after.state, records: [signed.envelope, opened.envelope] };
}

test("an answer is kept until a joiner with its key is in, whatever the relay says", async () => {
  const { vault, code, state } = await founded("answered");
  const core = new RoomCore(vault, hex(state.room), () => undefined);
  const desk = new AdmissionDesk(core, new ControlDesk(core), () => new Map());
  const id = hex(code.inviteId);
  await core.change(({ turn }) => desk.keepToken(turn, id, code.token));
  const ask = () =>
    Promise.reject(new RelayRefused({ type: "failure", code: "invite_used", text: "" } as never));
  core.link = { ask } as unknown as Link;
  core.isLive = true;
  const joining = makeRequest(code, state, { home: state.relayId, now: Date.now(), name: "Bo" });
  desk.asked(joining.request.envelope);
  const kept = () => vault.get(core.tables.admits, id);
  const isPassedOver = () => {
    const raw = kept();
    return raw !== undefined && json.read<{ passedOver?: boolean }>(raw).passedOver === true;
  };
  await expect.poll(isPassedOver, { timeout: 10_000 }).toBe(true);
  const admit = (sign_key: Uint8Array) =>
    ({ type: "admit", invite_id: code.inviteId, sign_key }) as unknown as RecordOf<"admit">;
  await core.change((draft) => desk.taken(draft, admit(newMemberKeys().sign.public)));
  expect(kept()).toBeDefined();
  await core.change((draft) => desk.taken(draft, admit(joining.keys.sign.public)));
  expect(kept()).toBeUndefined();
  core.close();
});

test("who is in a room can not join it again over the keys that are held", async () => {
  const { vault, code, records } = await founded("inside");
  const ask = async () => ({ type: "chain_page", seqs: [0, 1], records, more: false });
  const link = { ask } as unknown as Link;
  const relays = { at: () => ({}), linkTo: async () => link } as unknown as Relays;
  const listeners = { joined: async () => undefined, changed: () => undefined };
  const joins = new Joins(vault, relays, listeners);
  await expect(joins.join(inviteLink(code), "Ana")).rejects.toMatchObject({
    fault: "already_member",
  });
  expect(joins.all()).toEqual([]);
});
