/** Joins answered and asked for: nobody keeps a key unnoticed, nobody loses their own. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";

import { AdmissionDesk } from "../src/client/admissions.ts";
import { ControlDesk } from "../src/client/controldesk.ts";
import { RoomCore } from "../src/client/core.ts";
import { Joins } from "../src/client/joins.ts";
import type { Relays } from "../src/client/relays.ts";
import { json } from "../src/client/saved.ts";
import { inviteLink } from "../src/e2e/invites.ts";
import { makeRequest } from "../src/e2e/joining.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { hex } from "../src/protocol/bytes.ts";
import type { RecordOf } from "../src/protocol/records.ts";
import { type Member, memberOf } from "../src/protocol/room.ts";
import { hashOf, signRecord } from "../src/themis/signed.ts";
import { type Link, RelayRefused, type Request } from "../src/wire/link.ts";
import { FakeLink, founded, Hub, keep, newVault, RELAY_ID, refusal } from "./rooms.ts";

test("an answer is kept until a joiner with its key is in, whatever the relay says", async () => {
  const { vault, code, state } = await founded();
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
  const { vault, code, records } = await founded();
  const ask = async () => ({ type: "chain_page", seqs: [0, 1], records, more: false });
  const link = { ask } as unknown as Link;
  const relays = {
    at: () => ({ relayId: RELAY_ID }),
    linkTo: async () => link,
  } as unknown as Relays;
  const listeners = {
    leaving: () => undefined,
    moves: async () => undefined,
    joined: async () => undefined,
    changed: () => undefined,
  };
  const joins = new Joins(vault, relays, listeners);
  await expect(joins.join(inviteLink(code), "Ana")).rejects.toMatchObject({
    fault: "already_member",
  });
  expect(joins.all()).toEqual([]);
});

/** A member of a room with `join_rekey`, or its root, when somebody asks in. */
async function asked(isOwner: boolean) {
  const room = await founded({ join_rekey: true });
  const hub = new Hub(room);
  let { view } = room;
  if (!isOwner) {
    const mid = hex(room.root.mid);
    const member: Member = {
      ...memberOf(view.state, room.root.mid),
      role: "member",
      caps: new Set(["admit"]),
    };
    const members = new Map(view.state.members).set(mid, member);
    view = { ...view, state: { ...view.state, members } };
  }
  const vault = await newVault();
  await keep(vault, view);
  const core = new RoomCore(vault, room.id, () => undefined);
  onTestFinished(() => core.close());
  const controls = new ControlDesk(core);
  const desk = new AdmissionDesk(core, controls, () => new Map());
  const id = hex(room.code.inviteId);
  await core.change(({ turn }) => desk.keepToken(turn, id, room.code.token));
  const { code, state } = room;
  const joining = makeRequest(code, state, { home: state.relayId, now: Date.now(), name: "Bo" });
  const connect = (answers: (request: Request) => object | Error) => {
    const fake = new FakeLink(answers);
    core.link = fake.link;
    core.isLive = true;
    desk.asked(joining.request.envelope);
    return fake;
  };
  /** The room has a new key. */
  const renewed = () => {
    hub.rotate();
    return core.change((draft) => {
      const { epoch, epochSeq } = hub.view.state;
      const { keys } = hub.view;
      draft.view = { ...draft.view, keys, state: { ...draft.view.state, epoch, epochSeq } };
    });
  };
  return { connect, renewed, core, desk, joining };
}

test("who may admit but own nothing answers once an owner has renewed the key", async () => {
  const { connect, renewed, core } = await asked(false);
  const fake = connect(() => ({ type: "done" }));
  for (let turn = 0; turn < 5; turn += 1) await core.change(() => undefined);
  expect(fake.asked).toEqual([]);
  await renewed();
  await expect.poll(() => fake.of("join_answer").length).toBe(1);
  expect(fake.of("control")).toEqual([]);
});

test("an owner renews the key first, and is not stopped by a refusal", async () => {
  let refused = 0;
  const { connect, renewed } = await asked(true);
  const fake = connect((request) => {
    if (request.type !== "control") return { type: "done" };
    refused += 1;
    return refusal("forbidden");
  });
  await expect.poll(() => refused).toBe(1);
  expect(fake.of("join_answer")).toEqual([]);
  await renewed(); // by another owner
  await expect.poll(() => fake.of("join_answer").length).toBe(1);
});

test("a request that waits when the link is lost is answered on the next one, once", async () => {
  const { connect, renewed } = await asked(true);
  const first = connect(() => refusal("forbidden"));
  await expect.poll(() => first.of("control").length).toBe(1);
  const second = connect(() => ({ type: "done" }));
  await renewed();
  expect(first.of("join_answer")).toEqual([]);
  expect(second.of("join_answer").length).toBeLessThanOrEqual(1);
});

test("an answer given anew that a dying link took with it is given once more", async () => {
  const { connect, renewed, desk, joining } = await asked(false);
  const first = connect(() => ({ type: "done" }));
  await renewed();
  await expect.poll(() => first.of("join_answer").length).toBe(1);
  const { code, keys, request } = joining;
  // The relay has what confirms an answer of before, and nothing of this one.
  const confirm = signRecord(keys.sign.private, {
    type: "join_conf",
    v: 1,
    room: code.room,
    invite_id: code.inviteId,
    request_hash: hashOf(request),
    response_hash: new Uint8Array(32),
    mid: keys.mid,
    epoch: 0,
    cell: new Uint8Array(64),
  });
  desk.linkLost();
  const second = connect(() => ({ type: "done" }));
  await expect.poll(() => second.of("join_answer").length).toBe(1);
  desk.confirmed(confirm.envelope);
  await expect.poll(() => second.of("join_answer").length).toBe(2);
  desk.confirmed(confirm.envelope);
  const answers = second.of("join_answer");
  expect(answers).toHaveLength(2);
  expect(answers[1]).toEqual(answers[0]);
});

test("what a relay shows as requests to be let in is bounded, and none unless it is one", async () => {
  const { vault, id, code, state } = await founded();
  const core = new RoomCore(vault, id, () => undefined);
  onTestFinished(() => core.close());
  const desk = new AdmissionDesk(core, new ControlDesk(core), () => new Map());
  const { answering } = desk as unknown as { answering: Set<string> };
  for (let at = 0; at < 999; at += 1) desk.asked(new Uint8Array([at % 256, at / 256]));
  expect(answering.size).toBe(0);
  const joining = { home: state.relayId, name: "Eve" };
  for (let now = 1; now < 200; now += 1) {
    desk.asked(makeRequest(code, state, { ...joining, now }).request.envelope);
  }
  expect(answering.size).toBe(150);
});

test("who was given the key and never came in is told of, and the invite closed", async () => {
  const { vault, id, code, state } = await founded();
  const core = new RoomCore(vault, id, () => undefined);
  onTestFinished(() => core.close());
  const desk = new AdmissionDesk(core, new ControlDesk(core), () => new Map());
  const invite = hex(code.inviteId);
  await core.change(({ turn }) => desk.keepToken(turn, invite, code.token));
  const link = new FakeLink(({ type }) => (type === "join_answer" ? { type: "done" } : undefined));
  core.link = link.link;
  core.isLive = true;
  const joining = { home: state.relayId, now: Date.now(), name: "Bo" };
  desk.asked(makeRequest(code, state, joining).request.envelope);
  await expect.poll(() => link.of("join_answer")).toHaveLength(1);
  desk.review();
  await core.change(() => undefined);
  expect(core.alarms.all).toEqual([]);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 2 * 24 * 3_600_000 });
  onTestFinished(() => void vi.useRealTimers());
  desk.review();
  await core.change(() => undefined);
  expect(core.alarms.all).toEqual(["join_abandoned"]);
  await expect.poll(() => link.of("control")).toHaveLength(1);
});
