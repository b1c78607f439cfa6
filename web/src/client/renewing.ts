/**
 * A member's encryption key, replaced again and again, and forgotten (ofcd/client/renewing.py).
 *
 * Who steals a key opens every box that was ever made for it, or by it. So each member replaces its
 * key once it has been of use, and forgets the old one an hour later: in the log's order all boxes
 * for it stand before the UPDATE_E. So that not all act at once, each waits for a random time of a
 * span that grows with the room.
 */

import { holding, holdsOwnKey, type OtherPair } from "../e2e/keys.ts";
import type { Made } from "../e2e/rekeying.ts";
import { makeKeyUpdate, nextRenewal } from "../e2e/renewing.ts";
import { isInUse } from "../protocol/room.ts";
import { generateKeyPair } from "../themis/index.ts";
import { unlessRefused } from "./admissions.ts";
import type { ControlDesk } from "./controldesk.ts";
import { type RoomCore, unlessOver } from "./core.ts";
import { told } from "./told.ts";

const HOUR_MS = 3_600_000;
/** For each member of the room: a span among which they choose when to renew. */
const SPREAD_MS = 30_000;
/** The same for those who come back, and are late already. */
const OVERDUE_SPREAD_MS = 3_000;
/** Until the next attempt, should one come to nothing. */
const AGAIN_MS = 6 * HOUR_MS;
/** On a link so long, who waits to be let in has been told of by any relay. */
const SETTLED_MS = 60_000;
/** By so much a clock goes back that was ahead; by less it is only set. */
const AHEAD_MS = 60_000;
const FORMER_KEPT_MS = HOUR_MS;
/** A former key that is older goes on a new link too: some tabs never stay open for long. */
const UNSETTLED_KEPT_MS = 24 * HOUR_MS;
/** A former key that is older goes in any case, whatever a relay says of who waits. */
const LONGEST_KEPT_MS = 7 * 24 * HOUR_MS;

export class RenewDuty {
  private due: number | undefined;
  private actAt: number | undefined;
  private notBefore = 0;
  private liveSince: number | undefined;
  private isBusy = false;
  private lastSeen = 0;
  private stopTimer: () => void = () => undefined;

  /** `areWaiting`: somebody asks in, by a request that may be boxed for a former key. */
  constructor(
    private readonly core: RoomCore,
    private readonly controls: ControlDesk,
    private readonly areWaiting: () => boolean,
  ) {}

  /** On the next link choose anew: everybody else comes back too. */
  linkLost(): void {
    this.stopTimer();
    this.due = undefined;
    this.actAt = undefined;
    this.liveSince = undefined;
  }

  /** Renew and forget what it is time for; to be called after whatever came, and now and then. */
  check(): void {
    if (!this.core.isLive) return;
    const now = Date.now();
    if (now < this.lastSeen - AHEAD_MS) this.clockWasAhead();
    this.lastSeen = now;
    this.liveSince ??= now;
    this.forget(now);
    if (this.isBusy || now < this.notBefore) return;
    const { state, mine } = this.core.view;
    if (holdsOwnKey(state, mine, this.core.me)) {
      this.choose(now);
      if (this.actAt === undefined || now < this.actAt) return;
    } else {
      this.core.alarms.raise(told("key_replaced"));
    }
    this.start(now);
  }

  /** What was planned by it would come too late, or never. */
  private clockWasAhead(): void {
    this.linkLost();
    this.notBefore = 0;
  }

  /** When to act, chosen once for each time that it becomes due. */
  private choose(now: number): void {
    const { state, mine } = this.core.view;
    const due = nextRenewal(state, mine.mid, now);
    if (due === this.due) return;
    this.stopTimer();
    this.due = due;
    this.actAt = undefined;
    if (due === undefined) return;
    const chance = Math.random() * state.members.size;
    const onTime = due + chance * SPREAD_MS;
    this.actAt = due <= now ? Math.max(onTime, now + chance * OVERDUE_SPREAD_MS) : onTime;
    if (this.actAt - now < SETTLED_MS) {
      this.stopTimer = this.core.later(() => this.check(), this.actAt - now);
    }
  }

  private start(now: number): void {
    this.notBefore = now + AGAIN_MS;
    this.due = undefined;
    this.actAt = undefined;
    this.isBusy = true;
    void this.renew()
      .catch(unlessRefused)
      .finally(() => {
        this.isBusy = false;
      });
  }

  private async renew(): Promise<void> {
    if (this.nextPair === undefined || this.isTaken(this.nextPair)) {
      // In the vault before anybody is told of it, and the same however often the record is made.
      await this.core.change((draft) => {
        const { mine } = draft.view;
        const others = mine.others.filter((pair) => pair.replaced !== 0);
        const next = holding({ ...mine, others }, generateKeyPair());
        draft.view = { ...draft.view, mine: next };
      });
    }
    await this.controls.run("renew", () => this.make());
  }

  /**
   * A member has taken its public key for its own: a relay may have shown it. What was sent before
   * names an older head than that, and can not be taken any more.
   */
  private isTaken(pair: OtherPair): boolean {
    return isInUse(this.core.view.state, pair.public);
  }

  private get nextPair(): OtherPair | undefined {
    return this.core.view.mine.others.find(({ replaced }) => replaced === 0);
  }

  private make(): Made | undefined {
    const { making } = this.controls;
    const { state, mine, now } = making;
    const due = nextRenewal(state, mine.mid, now);
    const isDue = due !== undefined && due <= now;
    const next = this.nextPair;
    if (next === undefined || (holdsOwnKey(state, mine, this.core.me) && !isDue)) return undefined;
    return { signed: makeKeyUpdate(making, next.public), boxes: [] };
  }

  // -- former keys -----------------------------------------------------------------------------

  private forget(now: number): void {
    const keptFor = this.keptFor(now);
    const isOver = ({ replaced }: OtherPair) => {
      const age = now - replaced;
      return replaced > 0 && (age >= keptFor || age < -FORMER_KEPT_MS);
    };
    if (!this.core.view.mine.others.some(isOver)) return;
    const forgotten = this.core.change((draft) => {
      const { mine } = draft.view;
      const others = mine.others.filter((pair) => !isOver(pair));
      draft.view = { ...draft.view, mine: { ...mine, others } };
    });
    void forgotten.catch(unlessOver);
  }

  private keptFor(now: number): number {
    const { state, keys } = this.core.view;
    if (!keys.keys.has(state.epoch) || this.areWaiting()) return LONGEST_KEPT_MS;
    const isSettled = this.liveSince !== undefined && now - this.liveSince >= SETTLED_MS;
    return isSettled ? FORMER_KEPT_MS : UNSETTLED_KEPT_MS;
  }
}
