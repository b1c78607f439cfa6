/** The relay that one reaches a room through, and how to go to another one. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import type { Client } from "../client/client.ts";
import type { Room } from "../client/room.ts";
import { hostOf, isRelayAddress } from "./format.ts";
import { useDoing } from "./panel.tsx";
import { Field, Problem } from "./parts.tsx";
import { useStrings } from "./strings.ts";

interface RelayProps {
  readonly client: Client;
  readonly room: Room;
}

export function RelayOf({ client, room }: RelayProps): JSX.Element {
  const { making, moving, working } = useStrings();
  const [url, setUrl] = useState("");
  const [unfit, setUnfit] = useState("");
  const [outcome, setOutcome] = useState("");
  const { problem, isBusy, run } = useDoing();
  const go = async (event: Event) => {
    event.preventDefault();
    const to = url.trim();
    setOutcome("");
    setUnfit(isRelayAddress(to) ? "" : making.badRelay);
    if (!isRelayAddress(to)) return;
    await run(async () => {
      const isThere = await client.moveHome(room.id, to);
      setUrl("");
      setOutcome(isThere ? moving.done(hostOf(to)) : moving.waits(hostOf(to)));
    });
  };
  return (
    <details>
      <summary>{moving.title}</summary>
      <p>{moving.here(hostOf(room.url))}</p>
      {room.isAway && <p class="hint">{moving.ordered(hostOf(room.hubUrl))}</p>}
      {room.mayMove ? (
        <form onSubmit={go}>
          <p class="hint">{moving.why}</p>
          <Field label={making.relay} hint={making.relayHint} value={url} onValue={setUrl} />
          <button type="submit" disabled={isBusy}>
            {isBusy ? working : moving.go}
          </button>
        </form>
      ) : (
        room.state.policy.local_only && <p class="hint">{moving.localOnly}</p>
      )}
      <p class="hint" role="status">
        {outcome}
      </p>
      <Problem text={unfit || problem} />
    </details>
  );
}
