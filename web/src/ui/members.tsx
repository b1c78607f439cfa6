/** Who is in a room, in which role, and the numbers by which people know that it is so. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import type { Client } from "../client/client.ts";
import type { Room } from "../client/room.ts";
import type { RoomMember } from "../client/roomview.ts";
import { roomSafetyNumber, safetyNumber, shortCode } from "../e2e/trust.ts";
import { hex } from "../protocol/bytes.ts";
import type { Role } from "../protocol/records.ts";
import { mayAssign, mayEvict, memberOf } from "../protocol/room.ts";
import { Panel, Sure, useDoing } from "./panel.tsx";
import { Problem } from "./parts.tsx";
import { type People, peopleOf } from "./people.ts";
import { Phrase } from "./phrase.tsx";
import { QrCode } from "./qr.tsx";
import { LeaveHub, MoveRoom, RelayOf } from "./relay.tsx";
import { hasCamera, Scanner } from "./scanner.tsx";
import { useStrings } from "./strings.ts";

interface MembersProps {
  readonly client: Client;
  readonly room: Room;
  readonly onClose: () => void;
}

export function Members({ client, room, onClose }: MembersProps): JSX.Element {
  const strings = useStrings();
  const people = peopleOf(room, strings);
  return (
    <Panel title={strings.members} onClose={onClose}>
      {room.offeredBy && <Offer room={room} name={people(room.offeredBy)} />}
      <ul>
        {room.members().map((member) => (
          <MemberRow key={hex(member.mid)} room={room} member={member} people={people} />
        ))}
      </ul>
      <Whole client={client} room={room} />
    </Panel>
  );
}

function Offer({ room, name }: { room: Room; name: string }): JSX.Element {
  const { membership } = useStrings();
  const { problem, isBusy, run } = useDoing();
  return (
    <div class="part">
      <p>{membership.offered(name)}</p>
      <button
        type="button"
        class="main"
        aria-disabled={isBusy}
        onClick={() => run(() => room.acceptHandover())}
      >
        {membership.accept}
      </button>
      <Problem text={problem} />
    </div>
  );
}

/** What concerns the room as a whole: its key, its number, and leaving it. */
function Whole({ client, room }: Omit<MembersProps, "onClose">): JSX.Element {
  const strings = useStrings();
  const { membership } = strings;
  const { problem, isBusy, run } = useDoing();
  const isRoot = hex(room.state.root) === room.me;
  return (
    <div class="part">
      <p class="hint">{membership.key(room.epoch + 1)}</p>
      <details>
        <summary>{strings.roomNumber}</summary>
        <p class="digits">{roomSafetyNumber(room.state)}</p>
        <p class="hint">{strings.roomNumberWhy}</p>
      </details>
      <RelayOf client={client} room={room} />
      <MoveRoom client={client} room={room} />
      <LeaveHub client={client} room={room} />
      {room.saved.status === "active" && (
        <p class="row">
          {room.isOwner && (
            <button type="button" aria-disabled={isBusy} onClick={() => run(() => room.rotate())}>
              {isBusy ? strings.working : membership.rotate}
            </button>
          )}
          {(!isRoot || room.state.members.size === 1) && (
            <Sure
              label={membership.leave}
              question={membership.leaveSure}
              isBusy={isBusy}
              onYes={() => run(() => room.leave())}
            />
          )}
        </p>
      )}
      {isRoot && room.state.members.size > 1 && <p class="hint">{membership.rootStays}</p>}
      <Problem text={problem} />
    </div>
  );
}

interface MemberRowProps {
  readonly room: Room;
  readonly member: RoomMember;
  readonly people: People;
}

function MemberRow({ room, member, people }: MemberRowProps): JSX.Element {
  const strings = useStrings();
  const mid = hex(member.mid);
  const name = people(mid);
  const sponsor = room.state.sponsors.get(mid);
  return (
    <li class="part">
      <p>
        <bdi class="name">{name}</bdi> {member.isMe && <span class="mark">{strings.you}</span>}{" "}
        <span class="mark">{strings.roles[member.role]}</span> <Kind member={member} />{" "}
        {sponsor && <span class="mark">{strings.membership.sponsor(people(hex(sponsor)))}</span>}{" "}
        {room.sameAs(mid).map((other) => (
          <span key={other} class="mark">
            {strings.devices.same(people(other))}
          </span>
        ))}
      </p>
      {!member.isMe && <Compare room={room} member={member} name={name} />}
      {!member.isMe && room.mayPost && <Device room={room} member={member} name={name} />}
      {!member.isMe && <Powers room={room} member={member} name={name} />}
    </li>
  );
}

/** Marks of a member that is no person, by what the control log says of it. */
export function Kind({ member }: { member: Pick<RoomMember, "caps"> | undefined }): JSX.Element {
  const strings = useStrings();
  return (
    <>
      {member?.caps.has("bot") && <span class="mark kind">{strings.bot}</span>}
      {member?.caps.has("bridge") && <span class="mark kind">{strings.bridge}</span>}
    </>
  );
}

type NamedProps = Omit<MemberRowProps, "people"> & { readonly name: string };

function Compare({ room, member, name }: NamedProps): JSX.Element | null {
  const strings = useStrings();
  const { membership } = strings;
  const me = room.state.members.get(room.me);
  if (me === undefined) return null;
  const mid = hex(member.mid);
  const number = safetyNumber(room.state, me, memberOf(room.state, member.mid));
  const known = room.verifiedAs(mid);
  const isSame = known === number;
  const isProven = room.provenAt(member) !== undefined;
  return (
    <details>
      <summary>
        {strings.safetyNumber}{" "}
        {(isSame || isProven) && <span class="mark kind">✓ {membership.verified}</span>}
      </summary>
      {known !== "" && !isSame && <p class="problem">{membership.changed}</p>}
      <p>{strings.compare(name)}</p>
      <p>{strings.shortCode}</p>
      <p class="digits">{shortCode(room.state, me, memberOf(room.state, member.mid))}</p>
      <p>{strings.safetyNumber}</p>
      <p class="digits">{number}</p>
      <QrCode text={number} label={strings.safetyNumber} />
      {hasCamera() && (
        <ScanNumber number={number} onSame={() => void room.setVerified(mid, number)} />
      )}
      <label class="check">
        <input
          type="checkbox"
          checked={isSame}
          onChange={(event) => room.setVerified(mid, event.currentTarget.checked ? number : "")}
        />{" "}
        {membership.verify}
      </label>
      {isPerson(member) && room.mayPost && <Phrase room={room} member={member} name={name} />}
    </details>
  );
}

/** The same number, from the other's screen. */
function ScanNumber({ number, onSame }: { number: string; onSame: () => void }): JSX.Element {
  const { scanning } = useStrings();
  const [state, setState] = useState<"closed" | "open" | "differs">("closed");
  const found = (text: string) => {
    setState(text === number ? "closed" : "differs");
    if (text === number) onSame();
  };
  if (state === "open") return <Scanner onText={found} onClose={() => setState("closed")} />;
  return (
    <>
      <button type="button" onClick={() => setState("open")}>
        {scanning.theirs}
      </button>
      <Problem text={state === "differs" ? scanning.differs : ""} />
    </>
  );
}

/** A bot or a bridge has nobody who types. */
const isPerson = ({ caps }: RoomMember) => !caps.has("bot") && !caps.has("bridge");

/** One's own other device, by both words for it. */
function Device({ room, member, name }: NamedProps): JSX.Element | null {
  const { devices } = useStrings();
  const { problem, isBusy, run } = useDoing();
  const mid = hex(member.mid);
  const isSaid = room.saysToBe(room.me, mid);
  if (!isPerson(member)) return null;
  return (
    <details>
      <summary>{devices.title}</summary>
      <p class="hint">{isSaid ? devices.said(name) : devices.why(name)}</p>
      <div class="row">
        <button
          type="button"
          aria-disabled={isBusy}
          onClick={() => run(() => room.setAlias(mid, isSaid))}
        >
          {isSaid ? devices.unsay : devices.say}
        </button>
      </div>
      <Problem text={problem} />
    </details>
  );
}

const ROLES = ["co-owner", "member", "readonly"] as const satisfies readonly Role[];

/** What an owner may do with a member. */
function Powers({ room, member, name }: NamedProps): JSX.Element | null {
  const { membership } = useStrings();
  const { problem, isBusy, run } = useDoing();
  const me = room.state.members.get(room.me);
  if (me === undefined || !room.mayPost) return null;
  const mid = hex(member.mid);
  const isRoot = me.role === "root";
  if (!mayEvict(me, member)) return null;
  const labels = {
    "co-owner": membership.makeOwner,
    member: membership.makeMember,
    readonly: membership.makeReader,
  };
  const roles = ROLES.filter((role) => role !== member.role && mayAssign(me, role, member.caps));
  return (
    <details>
      <summary aria-label={`${membership.actions}: ${name}`}>⋯</summary>
      <div class="row">
        {roles.map((role) => (
          <button
            key={role}
            type="button"
            aria-disabled={isBusy}
            onClick={() => run(() => room.grant(mid, role))}
          >
            {labels[role]}
          </button>
        ))}
        {isRoot && member.role !== "readonly" && !member.caps.has("bot") && (
          <Sure
            label={membership.handOver}
            question={membership.handOverSure(name)}
            isBusy={isBusy}
            onYes={() => run(() => room.offerHandover(mid))}
          />
        )}
        <Sure
          label={membership.evict}
          question={membership.evictSure(name)}
          isBusy={isBusy}
          onYes={() => run(() => room.evict(mid))}
        />
      </div>
      <Problem text={problem} />
    </details>
  );
}
