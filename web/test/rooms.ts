/** Rooms in vaults of their own, on links whose relay says what a test wants. */

import { openDB } from "idb";
import { vi } from "vitest";

import { newRoom } from "../src/client/saved.ts";
import { saveNewRoom } from "../src/client/tables.ts";
import { Turn, Vault } from "../src/client/vault.ts";
import { type Answered, answerRequest, checkConfirm, makeAdmit } from "../src/e2e/admitting.ts";
import type { Making } from "../src/e2e/controls.ts";
import { makeGenesis, POLICY, type Policy } from "../src/e2e/genesis.ts";
import { makeInvite } from "../src/e2e/invites.ts";
import { type MemberKeys, newMemberKeys } from "../src/e2e/keys.ts";
import { seenOf } from "../src/e2e/log.ts";
import { makeRekey } from "../src/e2e/rekeying.ts";
import { take, type View } from "../src/e2e/view.ts";
import { hex } from "../src/protocol/bytes.ts";
import type { RelayFrame } from "../src/protocol/frames.ts";
import { type Member, memberOf, type RoomState } from "../src/protocol/room.ts";
import { lineage } from "../src/themis/index.ts";
import { type Link, LinkLost, RelayRefused, type Request } from "../src/wire/link.ts";

export const URL_ = "ws://relay.example";
export const RELAY_ID = new Uint8Array(32).fill(7);
let vaults = 0;

const FIRST = "first";
let first: Promise<Uint8Array> | undefined;

/** An empty vault of its own, with the same key as all others: to stretch a passphrase takes long. */
export async function newVault(): Promise<Vault> {
  first ??= keyOf(Vault.create(FIRST, "so geheim"));
  const dek = await first;
  const database = await openDB(FIRST);
  const name = `vault-${++vaults}`;
  const made = await openDB(name, database.version, {
    upgrade(its) {
      for (const store of database.objectStoreNames) its.createObjectStore(store);
    },
  });
  for (const store of database.objectStoreNames) {
    const [keys, values] = [await database.getAllKeys(store), await database.getAll(store)];
    for (const [at, key] of keys.entries()) await made.put(store, values[at], key);
  }
  made.close();
  database.close();
  return Vault.openWith(name, dek.slice());
}

async function keyOf(made: Promise<Vault>): Promise<Uint8Array> {
  const vault = await made;
  const { dek } = vault as unknown as { dek: Uint8Array };
  const key = dek.slice();
  await vault.close();
  return key;
}

/** A vault with a room of its own in it, and an open invite at seq 1. */
export async function founded(policy: Partial<Policy> = {}) {
  const vault = await newVault();
  const [root, now] = [newMemberKeys(), Date.now()];
  const { signed, view } = makeGenesis(root, RELAY_ID, now, { ...POLICY, ...policy });
  const { room } = view.state;
  const making = { state: view.state, mine: root, seen: seenOf(view.log), now };
  const { signed: opened, code } = makeInvite(making, URL_, { expires: now + 9e6 });
  const after = take(view, 1, opened.envelope).view;
  await keep(vault, after);
  const records = [signed.envelope, opened.envelope];
  return { vault, code, root, view: after, state: after.state, records, id: hex(room) };
}

/** A room in a vault as a member of it has it. */
export async function keep(vault: Vault, view: View): Promise<void> {
  const turn = new Turn(vault);
  saveNewRoom(turn, newRoom({ room: view.state.room, url: URL_, relayId: RELAY_ID }), view);
  await vault.commit(turn);
}

/** The room with one more member in it, or with this member changed. */
export function withMember(
  { state, mine }: Pick<View, "state" | "mine">,
  { mid, sign, encrypt }: MemberKeys,
  changes: Partial<Member> = {},
): RoomState {
  const member: Member = {
    ...memberOf(state, mine.mid),
    mid,
    signKey: sign.public,
    encKey: encrypt.public,
    firstEncKey: encrypt.public,
    role: "member",
    ...changes,
  };
  return { ...state, members: new Map([...state.members, [hex(mid), member]]) };
}

/** Fake time goes by, and the vault has its own beside it. */
export async function passes(time: number, step = 1_000): Promise<void> {
  for (let gone = 0; gone < time; gone += step) {
    await vi.advanceTimersByTimeAsync(step);
    for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
  }
}

type Answer = object | Error | undefined;

/** A link whose relay answers by `answers`; what it has no answer for waits for ever. */
export class FakeLink {
  readonly asked: Request[] = [];
  readonly welcome = { challenge: new Uint8Array(32) };
  readonly relay = lineage(RELAY_ID);
  isClosed = false;
  settle: (reason: Error) => void = () => undefined;
  readonly closed = new Promise<Error>((resolve) => {
    this.settle = resolve;
  });

  constructor(private readonly answers: (request: Request) => Answer | Promise<Answer>) {}

  get link(): Link {
    return this as unknown as Link;
  }

  async ask(request: Request): Promise<RelayFrame> {
    this.asked.push(request);
    const answer = await this.answers(request);
    if (answer instanceof Error) throw answer;
    if (answer !== undefined) return answer as RelayFrame;
    return new Promise((_, reject) => void this.closed.then(reject));
  }

  tell(): void {}

  close(): void {
    this.isClosed = true;
    this.settle(new LinkLost("closed"));
  }

  of(type: Request["type"]): Request[] {
    return this.asked.filter((request) => request.type === type);
  }
}

export const refusal = (code: string, more: object = {}): RelayRefused =>
  new RelayRefused({ type: "failure", rid: 1, code, text: `refused: ${code}`, ...more } as never);

/** The relay of a room, with its log, as its root's client serves it. */
export class Hub {
  readonly hashes: Uint8Array[];
  view: View;
  private answered: Answered | undefined;

  /** `lie` may answer in its place; undefined: it answers honestly. */
  constructor(
    private readonly room: Awaited<ReturnType<typeof founded>>,
    public lie: (request: Request, honest: () => object) => object | undefined = () => undefined,
  ) {
    this.view = room.view;
    this.hashes = [room.state.room, room.view.log.log];
  }

  connect(): FakeLink {
    return new FakeLink((request) => {
      const honest = () => this.answer(request);
      return this.lie(request, honest) ?? honest();
    });
  }

  /** The next record of the log, with root's box if it has one. */
  post(envelope: Uint8Array, box?: Uint8Array): void {
    this.room.records.push(envelope);
    this.view = take(this.view, this.room.records.length - 1, envelope, undefined, box).view;
    this.hashes.push(this.view.log.log);
  }

  get making(): Making {
    const { state, mine, log } = this.view;
    return { state, mine, seen: seenOf(log), now: Date.now() };
  }

  /** Root's answer to who asks in. */
  respond(request: Uint8Array, code = this.room.code): Uint8Array {
    const telling = { names: new Map([[hex(this.room.root.mid), "Ana"]]), roomName: "Garden" };
    const { keys } = this.view;
    this.answered = answerRequest(this.making, keys, request, code.token, telling);
    return this.answered.response;
  }

  rotate(): void {
    const made = makeRekey(this.making, this.view.keys);
    this.post(made.signed.envelope, made.boxes[0]);
  }

  /** One more open invite. */
  invite() {
    const { signed, code } = makeInvite(this.making, URL_, { expires: Date.now() + 9e6 });
    this.post(signed.envelope);
    return code;
  }

  private answer(request: Request): object {
    const { records } = this.room;
    const head = records.length - 1;
    const room = this.room.state.room;
    switch (request.type) {
      case "lookup":
      case "chain_get": {
        const seqs = records.map((_, seq) => seq).filter((seq) => seq >= (request.start ?? 0));
        const page = seqs.map((seq) => records[seq] as Uint8Array);
        return { type: "chain_page", room, seqs, records: page, more: false };
      }
      case "join":
        return { type: "join_status", room, state: "asked", record: new Uint8Array() };
      case "join_confirm": {
        const confirm = checkConfirm(
          this.view.state,
          this.view.keys,
          this.answered as Answered,
          request.record,
        );
        this.post(makeAdmit(this.making, this.answered as Answered, confirm).envelope);
        return { type: "join_status", room, state: "admitted", record: new Uint8Array() };
      }
      case "attach":
        return {
          type: "attached",
          room,
          seq: head,
          log: this.hashes.at(-1),
          cursor: 0,
          counter: 0,
          last: undefined,
        };
      case "sync": {
        const log = this.hashes[request.start - 1];
        return { type: "synced", room, start: request.start, floor: 0, log, head };
      }
      default:
        return { type: "done" };
    }
  }
}
