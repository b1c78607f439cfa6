/** What an owner makes, against what every member checks; and the admitter against Python's joins. */

import { expect, test } from "vitest";

import { answerRequest, checkConfirm, makeAdmit } from "../src/e2e/admitting.ts";
import {
  FileOpener,
  FileRejected,
  FileSealer,
  safeFileName,
  safeMime,
} from "../src/e2e/attachments.ts";
import { verifyChain } from "../src/e2e/chain.ts";
import {
  acceptHandover,
  headerFields,
  makeGrant,
  makeHandover,
  makeInviteClose,
  makeLeave,
  signControl,
} from "../src/e2e/controls.ts";
import { keyFor } from "../src/e2e/epochs.ts";
import { makeInvite, openTokenBox, parseLink } from "../src/e2e/invites.ts";
import { JoinRejected, makeRequest } from "../src/e2e/joining.ts";
import { type MemberKeys, memberKeys, newMemberKeys } from "../src/e2e/keys.ts";
import {
  forgetOldKeys,
  makeBoxedRekey,
  makeKeyAnswer,
  makeKeyRequest,
  makeRekey,
  makeRoutineRekey,
  openKeyAnswer,
  rekeyDue,
} from "../src/e2e/rekeying.ts";
import { FRESH_MS, openSignal, sealSignal } from "../src/e2e/signals.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import { CHUNK_BYTES } from "../src/protocol/limits.ts";
import type { RecordOf } from "../src/protocol/records.ts";
import { boxedRequired, memberOf } from "../src/protocol/room.ts";
import { peek, type Signed } from "../src/themis/index.ts";
import { URL_ } from "./rooms.ts";
import { DAY_MS, NOW, Stage } from "./stage.ts";
import { type Vector, vectors } from "./vectors.ts";

test("a founded room is what its members verify, and its newcomers can follow", () => {
  const stage = new Stage();
  const bo = stage.admit();
  const cy = stage.admit();
  stage.post(makeRoutineRekey(stage.making(), stage.view(stage.root).keys));
  stage.post(makeBoxedRekey(stage.making()));
  for (const who of [stage.root, bo, cy]) {
    const { keys, state } = stage.view(who);
    expect(keyFor(keys, 2)).toEqual(keyFor(stage.view(stage.root).keys, 2));
    expect(state.epoch).toBe(2);
  }
});

test("whoever is evicted gets no box, and can follow no further", () => {
  const stage = new Stage();
  const [bo, cy] = [stage.admit(), stage.admit()];
  const made = makeBoxedRekey(stage.making(), [cy.mid]);
  expect(made.boxes).toHaveLength(2);
  stage.post(made);
  expect(stage.view(bo).keys.keys.has(1)).toBe(true);
  expect(stage.view(cy).keys.keys.has(1)).toBe(false);
  expect(stage.view(bo).state.members.has(hex(cy.mid))).toBe(false);
  expect(() => makeBoxedRekey(stage.making(bo), [stage.root.mid])).toThrow(/role/);
});

test("co-owners are made and unmade, may invite, and answer each other's invites", () => {
  const stage = new Stage();
  const bo = stage.admit();
  expect(() => makeGrant(stage.making(bo), stage.root.mid, "member")).toThrow(/role/);
  stage.postAlone(makeGrant(stage.making(), bo.mid, "co-owner"));
  const { signed, code } = makeInvite(stage.making(bo), URL_, { expires: NOW + DAY_MS });
  stage.postAlone(signed);
  expect(openTokenBox(stage.making().state, stage.root, signed.record)).toEqual(code.token);
  stage.admit(bo);
  stage.postAlone(makeInviteClose(stage.making(), code.inviteId, false));
  expect(stage.making().state.invites.size).toBe(0);
  stage.postAlone(makeGrant(stage.making(), bo.mid, "readonly"));
  expect(memberOf(stage.making().state, bo.mid).role).toBe("readonly");
});

test("root hands over to who accepted, and may then leave; a boxed key comes next", () => {
  const stage = new Stage();
  const bo = stage.admit();
  expect(() => makeLeave(stage.making())).toThrow(/root/);
  const accept = acceptHandover(stage.making(bo)).envelope;
  expect(() => makeHandover(stage.making(), stage.root.mid, accept)).toThrow();
  stage.postAlone(makeHandover(stage.making(), bo.mid, accept));
  expect(boxedRequired(stage.making().state)).toBe(true);
  stage.post(makeRekey(stage.making(bo), stage.view(bo).keys));
  stage.postAlone(makeLeave(stage.making()));
  expect(stage.making(bo).state.boxedDue).toBe(true);
});

test("an invite is answered once: the same request gets the same bytes, another one none", () => {
  const stage = new Stage();
  const { signed, code } = makeInvite(stage.making(), URL_, { expires: NOW + DAY_MS });
  stage.postAlone(signed);
  const { state } = stage.making();
  const ask = () => makeRequest(code, state, { home: state.relayId, now: NOW }).request.envelope;
  const first = ask();
  const answered = stage.answer(stage.root, first, code.token);
  expect(stage.answer(stage.root, first, code.token, answered)).toBe(answered);
  expect(() => stage.answer(stage.root, ask(), code.token, answered)).toThrow(/two people/);
  expect(() => stage.answer(stage.root, first, new Uint8Array(32))).toThrow(/link/);
  const broken = first.slice();
  broken[broken.length - 5] = (broken.at(-5) as number) ^ 1;
  expect(() => stage.answer(stage.root, broken, code.token)).toThrow(JoinRejected);
  const late = { ...stage.making(), now: NOW + 2 * DAY_MS };
  const { keys } = stage.view(stage.root);
  const telling = { names: new Map(), roomName: "" };
  expect(() => answerRequest(late, keys, first, code.token, telling)).toThrow(/expired/);
  const confirm = (peek(first) as Signed<RecordOf<"join_req">>).envelope;
  expect(() => checkConfirm(state, keys, answered, confirm)).toThrow(/well-formed/);
});

const chain = vectors("chain");

function member(name: string): MemberKeys {
  const found = vectors("keys").members[name];
  const pair = (raw: Vector) => ({ private: fromHex(raw.private), public: fromHex(raw.public) });
  return memberKeys(pair(found.sign), pair(found.encrypt));
}

test.each<Vector>(chain.joins)("answers $joiner's request as Python made it", (one) => {
  const code = parseLink(one.link);
  const request = peek(fromHex(one.request)).record as RecordOf<"join_req">;
  const controls = (chain.log as Vector[])
    .filter((row) => row.cell === undefined)
    .map((row) => [row.seq, fromHex(row.record)] as const);
  const at = controls.find(([, raw]) => {
    const { record } = peek(raw);
    return record.type === "admit" && hex(record.sign_key) === hex(request.sign_key);
  })?.[0] as number;
  const state = verifyChain(fromHex(chain.room), controls, { before: at });
  const mine = member(one.admitter);
  const key = fromHex(chain.keys[String(state.epoch)]);
  const keys = { nonce: state.nonce, keys: new Map([[state.epoch, key]]) };
  const making = { state, mine, seen: { seq: state.seq, log: state.room }, now: 0 };
  const telling = { names: new Map(), roomName: "" };
  const made = answerRequest(making, keys, fromHex(one.request), code.token, telling);
  expect(peek(made.response).record.type).toBe("join_resp");
  const theirs = { ...made, request: fromHex(one.request), response: fromHex(one.response) };
  const confirm = checkConfirm(state, keys, theirs, fromHex(one.confirm));
  expect(() => checkConfirm(state, keys, made, fromHex(one.confirm))).toThrow(/another message/);
  expect(makeAdmit(making, theirs, confirm).record.epoch).toBe(state.epoch);
});

test("a key that did not come is asked for, and given to a member alone", () => {
  const stage = new Stage();
  const [bo, cy] = [stage.admit(), stage.admit()];
  stage.post(makeBoxedRekey(stage.making()));
  const { state, keys } = stage.view(stage.root);
  const lost = { ...keys, keys: new Map() };
  const request = makeKeyRequest(state, bo, NOW);
  const given = makeKeyAnswer(state, stage.root, keys, request.envelope);
  const found = openKeyAnswer(state, bo, lost, request, given.record, given.box);
  expect(keyFor(found, 1)).toEqual(keyFor(keys, 1));
  const other = makeKeyRequest(state, bo, NOW);
  expect(() => openKeyAnswer(state, bo, lost, other, given.record, given.box)).toThrow(/other/);
  expect(() => openKeyAnswer(state, cy, lost, request, given.record, given.box)).toThrow(/other/);
  expect(() => makeKeyAnswer(state, bo, keys, request.envelope)).toThrow(/forbidden/);
  const stranger = makeKeyRequest(state, newMemberKeys(), NOW).envelope;
  expect(() => makeKeyAnswer(state, stage.root, keys, stranger)).toThrow(/not found/);
});

test("a key is due after enough entries, enough hours with something said, or a departure", () => {
  const { state } = new Stage().making();
  const due = (head: number, said: number, hours: number) =>
    rekeyDue(state, { head, said, since: NOW, now: NOW + hours * 3_600_000 });
  expect([due(99, 99, 1), due(100, 99, 1)]).toEqual([false, true]);
  expect([due(1, 1, 24), due(1, 0, 24)]).toEqual([true, false]);
  expect(rekeyDue({ ...state, boxedDue: true }, { head: 0, said: 0, since: NOW, now: NOW })).toBe(
    true,
  );
  const gone = { ...state, boxedDue: true, closed: true };
  expect(rekeyDue(gone, { head: 0, said: 0, since: NOW, now: NOW })).toBe(false);
});

test("old keys are forgotten, but for the epoch before", () => {
  const keys = new Map([1, 2, 3].map((epoch) => [epoch, new Uint8Array(32)]));
  const held = { nonce: new Uint8Array(32), keys };
  expect([...forgetOldKeys(held, 3).keys.keys()]).toEqual([2, 3]);
  expect(forgetOldKeys(held, 2)).toBe(held);
});

test("a signal opens for its member, epoch and minute only", () => {
  const stage = new Stage();
  const { state, keys, mine } = stage.view(stage.root);
  const cell = sealSignal(state.room, 0, keys, mine.mid, { kind: "typing", ts: NOW });
  const open = (mid: Uint8Array, now: number) => openSignal(state.room, 0, keys, mid, cell, now);
  expect(open(mine.mid, NOW + FRESH_MS).kind).toBe("typing");
  expect(() => open(mine.mid, NOW + FRESH_MS + 1)).toThrow();
  expect(() => open(newMemberKeys().mid, NOW)).toThrow();
});

test("a file's pieces open in their places only, and whole", () => {
  const room = new Uint8Array(32);
  const bytes = new Uint8Array(CHUNK_BYTES + 10).map((_, at) => at % 251);
  const sealer = new FileSealer(room, bytes.length);
  const sealed = [sealer.seal(bytes.slice(0, CHUNK_BYTES)), sealer.seal(bytes.slice(CHUNK_BYTES))];
  const [first, second] = sealed as [Uint8Array, Uint8Array];
  const ref = sealer.finish("../a.txt", "text/plain");
  expect(ref.name).toBe("a.txt");
  const opener = new FileOpener(room, ref);
  expect(opener.open(first).length + opener.open(second).length).toBe(bytes.length);
  opener.finish();
  const bad = (act: (opener: FileOpener) => void, changes: Partial<typeof ref> = {}) =>
    expect(() => act(new FileOpener(room, { ...ref, ...changes }))).toThrow(FileRejected);
  bad((one) => one.open(second));
  bad((one) => {
    one.open(first);
    one.finish();
  });
  bad((one) => one.open(first), { size: bytes.length + 1 });
  bad(() => undefined, { size: 10 * 2 ** 30 });
  bad(() => undefined, { chunks: ref.chunks.slice(1) });
  bad(
    (one) => {
      one.open(first);
      one.open(second);
      one.finish();
    },
    { sha256: new Uint8Array(32) },
  );
  expect(() => new FileSealer(room, 3).seal(new Uint8Array(4))).toThrow(/changed its size/);
});

test("a file's name and type are safe to use", () => {
  const names = ["..\\..\\x.txt", "a\u202egnp.exe", "CON.txt", ".hidden", "  ", "a<b>.txt"];
  expect(names.map(safeFileName)).toEqual([
    "x.txt",
    "agnp.exe",
    "_CON.txt",
    "hidden",
    "file",
    "a_b_.txt",
  ]);
  const long = safeFileName(`${"ñ".repeat(300)}.jpeg`);
  expect(new TextEncoder().encode(long).length).toBeLessThanOrEqual(200);
  expect(long.endsWith(".jpeg")).toBe(true);
  expect([safeMime(" Image/PNG "), safeMime("text/html; x")]).toEqual([
    "image/png",
    "application/octet-stream",
  ]);
});

test("a member says where it is at home, and nothing else changes", () => {
  const stage = new Stage();
  const bo = stage.admit();
  const [here, other] = [new Uint8Array(32).fill(7), new Uint8Array(32).fill(8)];
  const move = (home: Uint8Array) => {
    const making = stage.making(bo);
    const signed = signControl(making, { type: "home", ...headerFields(making), home });
    stage.postAlone(signed);
  };
  const before = memberOf(stage.view(stage.root).state, bo.mid);
  move(other);
  expect(memberOf(stage.view(stage.root).state, bo.mid)).toEqual({ ...before, home: other });
  expect(() => move(other)).toThrow();
  move(here);
  expect(memberOf(stage.view(stage.root).state, bo.mid)).toEqual(before);
});

test("HOMEs are few in one epoch, and wear out no heir's acceptance", () => {
  const stage = new Stage();
  const bo = stage.admit();
  const move = (seed: number) => {
    const home = new Uint8Array(32).fill(seed);
    const making = stage.making(bo);
    stage.postAlone(signControl(making, { type: "home", ...headerFields(making), home }));
  };
  const before = stage.view(stage.root).state.heads;
  for (const seed of [8, 7, 8, 7]) move(seed);
  expect(() => move(8)).toThrow("quota");
  const { heads, ctl } = stage.view(stage.root).state;
  expect(heads).toEqual(before);
  const accept = acceptHandover(stage.making(bo));
  expect(accept.record.ctl).not.toEqual(ctl);
  stage.postAlone(makeHandover(stage.making(stage.root), bo.mid, accept.envelope));
  expect(stage.view(stage.root).state.root).toEqual(bo.mid);
});
