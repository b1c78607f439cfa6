/**
 * What a room's person should hear of: several at once, each until it is read. What nobody would tell
 * again is kept in the vault, in the turn that it came of.
 */

import { type Draft, mark, type RoomCore, unlessOver } from "./core.ts";
import type { Told } from "./told.ts";

/** As many of one code are kept: no member and no relay can drown another one by its own. */
const OF_ONE_CODE = 4;

const codeOf = (alarm: Told) => alarm.split(" ", 1)[0];

function withOne(alarms: readonly Told[], alarm: Told): readonly Told[] {
  const alike = alarms.filter((one) => codeOf(one) === codeOf(alarm));
  return alarms.includes(alarm) || alike.length >= OF_ONE_CODE ? alarms : [...alarms, alarm];
}

/** To be read, also by who opens the room again later. */
export const warn = (draft: Draft, alarm: Told): void =>
  mark(draft, { alarms: withOne(draft.marks.alarms, alarm) });

export class Alarms {
  /** Those that come again by themselves where they still hold. */
  private passing: readonly Told[] = [];

  constructor(private readonly core: RoomCore) {}

  /** Oldest first; those that are kept come before the others. */
  get all(): readonly Told[] {
    return [...new Set([...this.core.marks.alarms, ...this.passing])];
  }

  raise(alarm: Told): void {
    this.passing = withOne(this.passing, alarm);
    this.core.changed();
  }

  /** Those that are of no concern any more. */
  settle(isOver: (alarm: Told) => boolean): void {
    this.passing = this.passing.filter((one) => !isOver(one));
  }

  /** Its person has read it. */
  async dismiss(alarm: Told): Promise<void> {
    this.settle((one) => one === alarm);
    this.core.changed();
    if (!this.core.marks.alarms.includes(alarm)) return;
    const change = (draft: Draft) =>
      mark(draft, { alarms: draft.marks.alarms.filter((one) => one !== alarm) });
    await this.core.change(change).catch(unlessOver);
  }
}
