/** The relay that one reaches a room through, and the one that orders it: how to go to another. */

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";

import type { Client } from "../client/client.ts";
import type { Survey } from "../client/forcing.ts";
import type { Room } from "../client/room.ts";
import { isAddress } from "../protocol/addresses.ts";
import { fromHex } from "../protocol/bytes.ts";
import { RelayRefused } from "../wire/link.ts";
import { hostOf } from "./format.ts";
import { Question, useDoing } from "./panel.tsx";
import { Field, Problem } from "./parts.tsx";
import { useStrings } from "./strings.ts";

interface RelayProps {
  readonly client: Client;
  readonly room: Room;
}

export function RelayOf({ client, room }: RelayProps): JSX.Element {
  const { making, moving } = useStrings();
  const go: Act = async (url, pinned) => {
    const isThere = await client.moveHome(room.id, url, pinned);
    return isThere ? moving.done(hostOf(url)) : moving.waits(hostOf(url));
  };
  return (
    <details>
      <summary>{moving.title}</summary>
      <p>{moving.here(hostOf(room.url))}</p>
      {room.isAway && <p class="hint">{moving.ordered(hostOf(room.hubUrl))}</p>}
      {room.mayMove && (
        <Towards why={moving.why} address={making.relay} label={moving.go} go={go} />
      )}
      {room.state.policy.local_only && <p class="hint">{moving.localOnly}</p>}
    </details>
  );
}

/** For root alone: another relay that orders the room. */
export function MoveRoom({ client, room }: RelayProps): JSX.Element | null {
  const { moving } = useStrings();
  if (!room.mayMoveHub) return null;
  const go: Act = async (url, pinned) => {
    const host = hostOf(url);
    try {
      return (await client.moveHub(room.id, url, pinned))
        ? moving.moved(host)
        : moving.movedWaits(host);
    } catch (error) {
      if (error instanceof RelayRefused && error.code === "hub_away") return moving.notReady(host);
      throw error;
    }
  };
  return (
    <details>
      <summary>{moving.room}</summary>
      <p>{moving.at(hostOf(room.hubUrl))}</p>
      <Towards
        why={moving.roomWhy}
        address={moving.newRelay}
        label={moving.roomGo}
        question={async (url) => moving.roomSure(hostOf(url))}
        go={go}
      />
    </details>
  );
}

/** For root alone, where that relay is no more: what another one's copy has, and to go on from it. */
export function LeaveHub({ client, room }: RelayProps): JSX.Element | null {
  const { moving } = useStrings();
  const found = useRef<Survey>(undefined);
  if (!room.mayForceHub) return null;
  const look: Act = async (url, pinned) => {
    found.current = await client.surveyHub(room.id, url, pinned);
    return moving.lacks(hostOf(url), found.current.messages, found.current.own);
  };
  const go: Act = async (url) => {
    await client.forceHub(room.id, found.current as Survey);
    return moving.forced(hostOf(url));
  };
  return (
    <details>
      <summary>{moving.gone}</summary>
      <Towards
        why={moving.goneWhy}
        address={moving.copyRelay}
        label={moving.look}
        question={look}
        go={go}
      />
    </details>
  );
}

/** What is done with a relay at this address, which has to have this id, if any; what to say of it. */
type Act = (url: string, pinned: Uint8Array | undefined) => Promise<string>;

const RELAY_ID = /^[0-9a-f]{64}$/i;

interface TowardsProps {
  readonly why: string;
  /** What the address is called: there are two fields of this kind. */
  readonly address: string;
  readonly label: string;
  /** Asked before it is done, where it concerns others too. */
  readonly question?: Act;
  /** What became of it, for its person. */
  readonly go: Act;
}

/** The address of another relay, and what is done with it. */
function Towards({ why, address, label, question, go }: TowardsProps): JSX.Element {
  const { making, moving, working } = useStrings();
  const [url, setUrl] = useState("");
  const [id, setId] = useState("");
  const [unfit, setUnfit] = useState("");
  const [outcome, setOutcome] = useState("");
  /** What is asked, and what is done if it is meant. */
  const [asked, setAsked] = useState<readonly [text: string, act: () => void]>();
  const { problem, isBusy, run } = useDoing();
  const set = (its: (text: string) => void) => (text: string) => {
    its(text);
    setAsked(undefined); // the question was about another one
  };
  const act = async (...to: Parameters<Act>) => {
    setAsked(undefined);
    await run(async () => {
      setOutcome(moving.under);
      try {
        setOutcome(await go(...to));
        setUrl("");
        setId("");
      } catch (error) {
        setOutcome("");
        throw error;
      }
    });
  };
  const submit = (event: Event) => {
    event.preventDefault();
    const [address, digits] = [url.trim(), id.trim()];
    const isPinned = digits !== "";
    const isId = !isPinned || RELAY_ID.test(digits);
    const wrong = isAddress(address) ? (isId ? "" : moving.badId) : making.badRelay;
    setOutcome("");
    setUnfit(wrong);
    if (wrong !== "") return;
    const to = [address, isPinned ? fromHex(digits.toLowerCase()) : undefined] as const;
    if (question === undefined) void act(...to);
    else void run(async () => setAsked([await question(...to), () => void act(...to)]));
  };
  return (
    <form onSubmit={submit}>
      <p class="hint">{why}</p>
      <Field label={address} hint={making.relayHint} value={url} onValue={set(setUrl)} />
      <details class="lesser">
        <summary>{moving.certain}</summary>
        <Field label={moving.id} hint={moving.idHint} value={id} onValue={set(setId)} />
      </details>
      {asked ? (
        <Question text={asked[0]} onYes={asked[1]} onNo={() => setAsked(undefined)} />
      ) : (
        <button type="submit" aria-disabled={isBusy}>
          {isBusy ? working : label}
        </button>
      )}
      <p class="hint" role="status">
        {outcome}
      </p>
      <Problem text={unfit || problem} />
    </form>
  );
}
