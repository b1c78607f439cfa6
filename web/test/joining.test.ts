/** The joiner's half, against the joins that Python's admitter answered. */

import { describe, expect, test } from "vitest";

import { openBox } from "../src/e2e/boxes.ts";
import { type Standing, verifyChain } from "../src/e2e/chain.ts";
import { confirmContext, proofContext, proofPlaintext } from "../src/e2e/contexts.ts";
import { parseLink } from "../src/e2e/invites.ts";
import {
  checkAdmitted,
  checkResponse,
  type Joining,
  JoinRejected,
  makeRequest,
} from "../src/e2e/joining.ts";
import { memberKeys } from "../src/e2e/keys.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import type { RecordOf } from "../src/protocol/records.ts";
import { memberOf } from "../src/protocol/room.ts";
import { hashOf, openSigned, peek, type Signed, unseal } from "../src/themis/index.ts";
import { type Vector, vectors } from "./vectors.ts";

const chain = vectors("chain");
const room = fromHex(chain.room);
const controls: Standing[] = (chain.log as Vector[])
  .filter((row) => row.cell === undefined)
  .map((row) => [row.seq, fromHex(row.record)]);

function member(name: string) {
  const found = vectors("keys").members[name];
  const pair = (raw: Vector) => ({ private: fromHex(raw.private), public: fromHex(raw.public) });
  return memberKeys(pair(found.sign), pair(found.encrypt));
}

const joiningOf = (one: Vector): Joining => ({
  code: parseLink(one.link),
  keys: member(one.joiner),
  joinKey: fromHex(one.J),
  request: peek(fromHex(one.request)) as Signed<RecordOf<"join_req">>,
});

describe.each<Vector>(chain.joins)("$joiner", (one) => {
  const joining = joiningOf(one);
  const joined = checkResponse(joining, controls, fromHex(one.response));

  test("takes the room key that the log commits to", () => {
    const { epoch } = joined.welcome;
    expect(hex(joined.keys.keys.get(epoch) as Uint8Array)).toBe(chain.keys[String(epoch)]);
  });

  test("confirms what the admitter sent", () => {
    const { record } = joined.confirm;
    const theirs = peek(fromHex(one.confirm)).record as RecordOf<"join_conf">;
    expect(hex(record.request_hash)).toBe(hex(theirs.request_hash));
    expect(hex(record.response_hash)).toBe(hex(theirs.response_hash));
    const context = confirmContext(room, record.mid, record.epoch);
    expect(unseal(joined.welcome.key, record.cell, context)).toEqual(
      unseal(joined.welcome.key, theirs.cell, context),
    );
    openSigned(joining.keys.sign.public, joined.confirm.envelope);
  });

  test("is in the log with its own keys", () => {
    const at = (chain.log as Vector[]).find(
      (row) => row.type === "admit" && row.seq > joined.state.seq,
    ) as Vector;
    const state = verifyChain(room, controls, { before: at.seq + 1 });
    expect(checkAdmitted(state, joining.keys).joinedSeq).toBe(at.seq);
    const other = memberKeys(joining.keys.sign, member("root").encrypt);
    expect(() => checkAdmitted(state, other)).toThrow(/another key/);
  });

  test("refuses an answer to another request, one changed, and one that does not open", () => {
    const other = {
      ...joining,
      request: joiningOf(chain.joins.find((j: Vector) => j !== one)).request,
    };
    expect(() => checkResponse(other, controls, fromHex(one.response))).toThrow(JoinRejected);
    const changed = fromHex(one.response);
    changed[changed.length - 1] = (changed.at(-1) as number) ^ 1;
    expect(() => checkResponse(joining, controls, changed)).toThrow(/not signed/);
    const wrongJ = { ...joining, joinKey: new Uint8Array(32) };
    expect(() => checkResponse(wrongJ, controls, fromHex(one.response))).toThrow(/sealed part/);
    expect(() => checkResponse(joining, controls.slice(0, 1), fromHex(one.response))).toThrow(
      /bear out/,
    );
  });

  test("a request made here proves itself to the admitter", () => {
    const { state } = joined;
    const now = 0;
    const made = makeRequest(joining.code, state, { home: state.relayId, now, name: "Ána" });
    const { record } = made.request;
    openSigned(record.sign_key, made.request.envelope);
    const root = member(one.admitter);
    const boxed = record.boxes.find(([mid]) => hex(mid) === hex(root.mid)) as [unknown, Uint8Array];
    const joiner = { mid: made.keys.mid, encKey: record.enc_key };
    const said = openBox("join", root, joiner, room, boxed[1]);
    expect(said.name.trimEnd()).toBe("Ána");
    expect(said.key).toEqual(made.joinKey);
    expect(unseal(joining.code.token, said.proof, proofContext(room, record.invite_id))).toEqual(
      proofPlaintext(room, record.invite_id, record.sign_key, record.enc_key, record.nonce),
    );
    expect(hashOf(made.request)).not.toEqual(hashOf(joining.request));
    expect(() =>
      makeRequest(joining.code, state, { home: state.relayId, now: Number.MAX_SAFE_INTEGER }),
    ).toThrow(/expired/);
    const forged = { ...joining.code, token: new Uint8Array(32) };
    expect(() => makeRequest(forged, state, { home: state.relayId, now })).toThrow(/bear out/);
    expect(memberOf(state, root.mid).role).toBe("root");
  });
});
