/**
 * Where a room's member is at home, and which relay orders the room: said in the control log, and
 * followed from there (ofcd/client/moving.py, docs/protocol.md, Changing homes and Moving a room).
 */

import { equal } from "../protocol/bytes.ts";
import type { ControlRecord } from "../protocol/records.ts";
import { hubOf, isRefusal, memberOf, Refused, termOf } from "../protocol/room.ts";
import { RelayRefused } from "../wire/link.ts";
import { warn } from "./alarms.ts";
import type { ControlDesk } from "./controldesk.ts";
import { amend, type Draft, isSamePlace, mark, type RoomCore } from "./core.ts";
import { followHome, followHub, goToHub, makeHome, makeHubMove, type Place } from "./moving.ts";
import { NotMoved } from "./notmoved.ts";
import { told } from "./told.ts";

const HOME_UNKNOWN = told("home_unknown");

export class Homes {
  /** Where the room's person has last wanted it to be moved. */
  private wantedHub: Place | undefined;

  constructor(
    private readonly core: RoomCore,
    private readonly controls: ControlDesk,
  ) {}

  /**
   * Be at home at another relay from now on, and stay the same member: settled once HOME stands in
   * the log. Called again, it goes on from where it had come.
   */
  async moveHome(home: Place): Promise<void> {
    await this.core.change((draft) => amend(draft, { moving: home }));
    try {
      await this.controls.run("home", () => {
        const { myself } = this.core;
        if (myself === undefined || equal(myself.home, home.relayId) || !this.isWanted(home)) {
          return undefined; // it stands in the log, or its person has chosen another one since
        }
        return { signed: makeHome(this.controls.making, home.relayId), boxes: [] };
      });
    } catch (error) {
      const isRefused = isRefusal(error) || error instanceof RelayRefused;
      if (isRefused && this.isWanted(home)) {
        await this.core.change((draft) => amend(draft, { moving: undefined }));
      }
      throw error;
    }
    await this.settle();
  }

  /**
   * Have another relay order the room: settled once HUB_MOVE stands in the log. The relay so far has
   * to agree, and the other to have all of it: rejects with the last refusal where that does not come
   * about within some tries, with `conflict` once another relay was chosen, and with `NotMoved` where
   * one by force may stand somewhere. Nothing else waits for it meanwhile.
   */
  async moveHub(hub: Place): Promise<void> {
    this.wantedHub = hub;
    await this.core.change((draft) => {
      const signedTerm = Math.max(draft.marks.signedTerm, termOf(draft.view.state) + 1);
      mark(draft, { signedTerm });
    });
    return this.controls.runPatiently("move", () => {
      // One that was put off would move the room away from where it was sent since.
      if (this.wantedHub !== hub) throw new Refused("conflict");
      if (equal(hubOf(this.core.view.state), hub.relayId)) return undefined;
      const { marks, view } = this.core;
      if (marks.forcedTerm > termOf(view.state)) throw new NotMoved("term_signed");
      return { signed: makeHubMove(this.controls.making, hub), boxes: [] };
    });
  }

  /** Go to the relay where the control log says that one is at home. */
  settle(): Promise<void> {
    return this.core.change((draft) => {
      if (draft.view.state.members.has(this.core.me)) this.follow(draft);
    });
  }

  /** Straight to the room's own relay, which takes every member. */
  goToHub(): Promise<void> {
    return this.core.change(goToHub);
  }

  /** A control record was applied, in this turn: it may say where to go. */
  taken(draft: Draft, record: ControlRecord): void {
    if (!draft.view.state.members.has(this.core.me)) return;
    if (record.type === "home" && equal(record.mid, draft.view.mine.mid)) this.follow(draft);
    if (record.type !== "hub_move") return;
    followHub(draft, record);
    if (isAtHome(draft)) clear(draft);
  }

  private follow(draft: Draft): void {
    followHome(draft);
    if (isAtHome(draft)) clear(draft);
    else warn(draft, HOME_UNKNOWN);
  }

  private isWanted(home: Place): boolean {
    const { moving } = this.core.saved;
    return moving !== undefined && isSamePlace(moving, home);
  }
}

function clear(draft: Draft): void {
  const { alarms } = draft.marks;
  if (alarms.includes(HOME_UNKNOWN))
    mark(draft, { alarms: alarms.filter((one) => one !== HOME_UNKNOWN) });
}

/** Whether the room is reached where the control log says that this member is at home. */
const isAtHome = ({ saved, view }: Draft): boolean =>
  equal(saved.relayId, memberOf(view.state, view.mine.mid).home);
