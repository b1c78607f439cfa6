/** Who is in a room, in which role, and the numbers by which people know that it is so. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

import type { Room } from "../client/room.ts";
import type { RoomMember } from "../client/roomview.ts";
import { roomSafetyNumber, safetyNumber, shortCode } from "../e2e/trust.ts";
import { hex } from "../protocol/bytes.ts";
import { memberOf } from "../protocol/room.ts";
import { useEscape } from "./hooks.ts";
import { type People, peopleOf } from "./people.ts";
import { useStrings } from "./strings.ts";

interface MembersProps {
  readonly room: Room;
  readonly onClose: () => void;
}

export function Members({ room, onClose }: MembersProps): JSX.Element {
  const strings = useStrings();
  const people = peopleOf(room, strings);
  const first = useRef<HTMLButtonElement>(null);
  useEffect(() => first.current?.focus(), []);
  useEscape(onClose);
  return (
    <aside class="members" aria-label={strings.members}>
      <header>
        <h2>{strings.members}</h2>
        <button ref={first} type="button" onClick={onClose}>
          {strings.close}
        </button>
      </header>
      <ul>
        {room.members().map((member) => (
          <MemberRow key={hex(member.mid)} room={room} member={member} people={people} />
        ))}
      </ul>
      <details>
        <summary>{strings.roomNumber}</summary>
        <p class="digits">{roomSafetyNumber(room.state)}</p>
        <p class="hint">{strings.roomNumberWhy}</p>
      </details>
    </aside>
  );
}

interface MemberRowProps {
  readonly room: Room;
  readonly member: RoomMember;
  readonly people: People;
}

function MemberRow({ room, member, people }: MemberRowProps): JSX.Element {
  const strings = useStrings();
  const name = people(hex(member.mid));
  return (
    <li>
      <p>
        <bdi class="name">{name}</bdi> {member.isMe && <span class="mark">{strings.you}</span>}{" "}
        <span class="mark">{strings.roles[member.role]}</span> <Kind member={member} />
      </p>
      {!member.isMe && <Compare room={room} member={member} name={name} />}
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

function Compare({ room, member, name }: Omit<MemberRowProps, "people"> & { name: string }) {
  const strings = useStrings();
  const me = room.state.members.get(room.me);
  if (me === undefined) return null;
  const other = memberOf(room.state, member.mid);
  return (
    <details>
      <summary>{strings.safetyNumber}</summary>
      <p>{strings.compare(name)}</p>
      <p>{strings.shortCode}</p>
      <p class="digits">{shortCode(room.state, me, other)}</p>
      <p>{strings.safetyNumber}</p>
      <p class="digits">{safetyNumber(room.state, me, other)}</p>
    </details>
  );
}
