/**
 * A link to a relay over a WebSocket: opened, asked, listened to, closed.
 *
 * What comes unasked goes to `onFrame`, in order; an answer settles its request. When the link is
 * lost every request that waits fails with `LinkLost`, and `closed` is settled.
 */

import type { ClientFrame, RelayFrame } from "../protocol/frames.ts";
import { LINK_MESSAGE_BYTES } from "../protocol/limits.ts";
import { ClientSession, type Welcome } from "../session/session.ts";
import type { KeyFault, KeyPair, Lineage } from "../themis/index.ts";

export const SUBPROTOCOL = "ofc.1";
const HANDSHAKE_MS = 20_000;
const ANSWER_MS = 30_000;
/** A session's keys are fixed: new ones come before a day is over, whatever the relay does. */
export const LIFETIME_MS = 23 * 3_600_000;

/** The link is gone; what was asked may or may not have been done: ask again on the next one. */
export class LinkLost extends Error {
  override readonly name = "LinkLost";

  /** Another relay than the known one answered: how that shows. */
  readonly fault: KeyFault | undefined;

  constructor(
    sentence: string,
    { cause, fault }: { readonly cause?: unknown; readonly fault?: KeyFault | undefined } = {},
  ) {
    super(sentence, { cause });
    this.fault = fault;
  }
}

/** For what goes on with the next link. */
export function unlessLost(error: unknown): void {
  if (!(error instanceof LinkLost)) throw error;
}

/** The relay refused a request; `code` is stable, the message a sentence for people. */
export class RelayRefused extends Error {
  override readonly name = "RelayRefused";

  constructor(readonly failure: Failure) {
    super(failure.text);
  }

  get code(): string {
    return this.failure.code;
  }

  /** Milliseconds that the relay wants to be left alone: see `waitOf`. */
  get wait(): number {
    return waitOf(this.failure);
  }
}

/** So long a relay may ask one to wait: a longer timer would go off at once, in every browser. */
const LONGEST_WAIT_MS = 600_000;

/** How long the relay wants to be left alone, in milliseconds; within reason. */
export const waitOf = ({ retry_after = 0 }: Pick<Failure, "retry_after">): number =>
  Math.min(retry_after, LONGEST_WAIT_MS);

type Failure = Extract<RelayFrame, { type: "failure" }>;
type WithRid = Extract<ClientFrame, { rid: number }>;
/** A request as its asker writes it: the link numbers it. */
export type Request = WithRid extends infer F
  ? F extends WithRid
    ? Omit<F, "rid">
    : never
  : never;
type Answer = Extract<RelayFrame, { rid: number }>;

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** What of a WebSocket is used: the browser's own, or one for Node in tests. */
export type SocketLike = Pick<WebSocket, "binaryType" | "close"> & {
  send(data: Uint8Array<ArrayBuffer>): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
};

export interface LinkOptions {
  readonly url: string;
  /** This client's transport keys for this relay. */
  readonly keys: KeyPair;
  /** The relay that is to answer; undefined trusts the first one seen. */
  readonly known: Lineage | undefined;
  readonly onFrame: (frame: RelayFrame) => void;
  readonly makeSocket?: (url: string) => SocketLike;
}

const browserSocket = (url: string): SocketLike =>
  new WebSocket(url, SUBPROTOCOL) as unknown as SocketLike;

/** A page that came over https may open no `ws://`, for one. */
function socketTo({ url, makeSocket = browserSocket }: LinkOptions): SocketLike {
  try {
    return makeSocket(url);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    throw new LinkLost("the browser does not let this page connect there", { cause: error });
  }
}

export class Link {
  /** Settled, with the reason, when the link has ended. */
  readonly closed: Promise<Error>;
  private readonly session: ClientSession;
  private readonly socket: SocketLike;
  private readonly waiting = new Map<number, Waiting>();
  private settleClosed: (reason: Error) => void = () => {};
  private settleOpened: (result: Error | undefined) => void = () => {};
  private ended: Error | undefined;
  private readonly life = setTimeout(() => this.end("it is time for new keys"), LIFETIME_MS);
  private rid = 0;

  /** Opens a link; rejects with `LinkLost` if that fails, or takes too long. */
  static async open(options: LinkOptions): Promise<Link> {
    let failed: ((reason: Error | undefined) => void) | undefined;
    const opened = new Promise<Error | undefined>((resolve) => {
      failed = resolve;
    });
    const link = new Link(options, failed as (reason: Error | undefined) => void);
    const timer = setTimeout(() => link.end("the relay did not answer in time"), HANDSHAKE_MS);
    const error = await opened;
    clearTimeout(timer);
    if (error !== undefined) throw error;
    return link;
  }

  private constructor(
    private readonly options: LinkOptions,
    onOpened: (result: Error | undefined) => void,
  ) {
    this.settleOpened = onOpened;
    this.closed = new Promise((resolve) => {
      this.settleClosed = resolve;
    });
    this.session = new ClientSession(options.keys, options.known, "ofc-web");
    try {
      this.socket = socketTo(options);
    } catch (error) {
      clearTimeout(this.life);
      throw error;
    }
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.transmit(this.session.connect());
    this.socket.onmessage = ({ data }) => this.receive(data);
    this.socket.onclose = () => this.end("the connection was closed");
    this.socket.onerror = () => this.end("the relay can not be reached");
  }

  get welcome(): Welcome {
    if (this.session.welcome === undefined) throw new LinkLost("the link is not open");
    return this.session.welcome;
  }

  /** The relay's proven key. */
  get relayKey(): Uint8Array {
    return this.session.peer;
  }

  /** The relay on the other end, proven. */
  get relay(): Lineage {
    return this.session.relay;
  }

  /**
   * The answer to a request; rejects with `RelayRefused` or `LinkLost`. A link on which it does not
   * come within `limit` milliseconds has ended.
   */
  ask(request: Request, limit = ANSWER_MS): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) {
        reject(this.ended);
        return;
      }
      this.rid += 1;
      const rid = this.rid;
      const timer = setTimeout(() => this.end("the relay no longer answers"), limit);
      this.waiting.set(rid, { resolve, reject, timer });
      this.transmit(this.session.send([{ ...request, rid } as ClientFrame]));
    });
  }

  /** Sends a frame that has no answer. */
  tell(frame: Extract<ClientFrame, { type: "cursor" | "signal" }>): void {
    if (this.ended === undefined) this.transmit(this.session.send([frame]));
  }

  close(): void {
    this.end("closed by this side");
  }

  private transmit(message: Uint8Array): void {
    this.socket.send(message as Uint8Array<ArrayBuffer>);
  }

  private receive(data: unknown): void {
    if (this.ended !== undefined) return;
    if (!(data instanceof ArrayBuffer) || data.byteLength > LINK_MESSAGE_BYTES) {
      this.end("the relay sent what is no message");
      return;
    }
    try {
      const wasOpen = this.session.state === "open";
      const { frames, replies } = this.session.receive(new Uint8Array(data));
      for (const reply of replies) this.transmit(reply);
      if (!wasOpen && this.session.state === "open") this.settleOpened(undefined);
      for (const frame of frames) this.take(frame);
      if (this.session.isWorn) this.end("it is time for new keys");
    } catch (error) {
      if (this.session.fault !== undefined)
        this.end("another relay answered than the one that is known", error);
      else this.end("the relay broke the protocol", error);
    }
  }

  private take(frame: RelayFrame): void {
    if (frame.type === "welcome") return;
    const rid = "rid" in frame ? frame.rid : 0;
    if (rid !== 0) this.settle(rid, frame as Answer);
    else if (frame.type === "failure") this.end(frame.text, new RelayRefused(frame));
    else this.options.onFrame(frame);
  }

  private settle(rid: number, answer: Answer): void {
    const waiting = this.waiting.get(rid);
    if (waiting === undefined) {
      this.end("the relay answered what nobody asked");
      return;
    }
    this.waiting.delete(rid);
    clearTimeout(waiting.timer);
    if (answer.type === "failure") waiting.reject(new RelayRefused(answer));
    else waiting.resolve(answer);
  }

  private end(sentence: string, cause?: unknown): void {
    if (this.ended !== undefined) return;
    const reason = new LinkLost(sentence, { cause, fault: this.session.fault });
    this.ended = reason;
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(reason);
    }
    this.waiting.clear();
    clearTimeout(this.life);
    this.session.close();
    this.socket.close();
    this.settleOpened(reason);
    this.settleClosed(reason);
  }
}
