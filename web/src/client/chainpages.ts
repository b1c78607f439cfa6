/** The control log of a room, read from a relay page by page. */

import type { Standing } from "../e2e/chain.ts";
import { type InviteCode, proofOf } from "../e2e/invites.ts";
import type { HubFields } from "../protocol/frames.ts";
import { CHAIN_BYTES, CHAIN_OVERHEAD } from "../protocol/limits.ts";
import { type Link, LinkLost, type Request } from "../wire/link.ts";

async function pages(link: Link, make: (start: number) => Request, from = 0): Promise<Standing[]> {
  const found: Standing[] = [];
  let bytes = 0;
  for (let more = true; more; ) {
    const page = await link.ask(make((found.at(-1)?.[0] ?? from - 1) + 1));
    const isPage =
      page.type === "chain_page" &&
      page.seqs.length === page.records.length &&
      (page.records.length > 0 || !page.more);
    if (!isPage) throw new LinkLost("the relay answered something else");
    for (const [at, raw] of page.records.entries()) {
      const seq = page.seqs[at] as number;
      bytes += raw.length + CHAIN_OVERHEAD;
      if (seq <= (found.at(-1)?.[0] ?? from - 1) || bytes > CHAIN_BYTES) {
        throw new LinkLost("the relay shows what can be no control log");
      }
      found.push([seq, raw]);
    }
    more = page.more;
  }
  return found;
}

/** As a member sees it, from the log's entry `from` on. */
export const chainOfRoom = (link: Link, room: Uint8Array, from = 0): Promise<Standing[]> =>
  pages(link, (start) => ({ type: "chain_get", room, start }), from);

/** As who holds an open invite sees it. */
export const chainOfInvite = (link: Link, code: InviteCode, hub: HubFields): Promise<Standing[]> =>
  pages(link, (start) => ({
    type: "lookup",
    room: code.room,
    invite_id: code.inviteId,
    proof: proofOf(code),
    start,
    ...hub,
  }));
