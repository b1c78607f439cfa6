/** The list of rooms, and what concerns this browser as a whole. */

import type { JSX } from "preact";

import type { Client, JoinInfo } from "../client/client.ts";
import type { Room } from "../client/room.ts";
import { clock, excerptOf, hostOf, ownRelay } from "./format.ts";
import { useHistory } from "./hooks.ts";
import { Guarded } from "./parts.tsx";
import { authorOf, peopleOf } from "./people.ts";
import { useStrings } from "./strings.ts";
import { isWords, unreadCount, unreadOf } from "./unread.ts";

const LOOK_BACK = 30;

interface RoomsProps {
  readonly client: Client;
  readonly place: string;
  readonly onChoose: (room: string) => void;
  readonly onJoin: () => void;
  readonly onCreate: () => void;
  readonly onSettings: () => void;
  readonly onLock: () => void;
}

export function Rooms(props: RoomsProps): JSX.Element {
  const strings = useStrings();
  const rooms = props.client.allRooms();
  const joins = props.client.pendingJoins();
  return (
    <nav class="rooms" aria-label={strings.rooms}>
      <header>
        <h1>{strings.rooms}</h1>
        <button type="button" onClick={props.onJoin}>
          {strings.join}
        </button>
        <button type="button" class="main" onClick={props.onCreate}>
          {strings.making.open}
        </button>
      </header>
      {rooms.length + joins.length === 0 && <p class="hint">{strings.noRooms}</p>}
      <ul>
        {rooms.map((room) => (
          <Guarded key={room.id} instead={<li>{room.id.slice(0, 8)}</li>}>
            <RoomRow room={room} {...props} />
          </Guarded>
        ))}
        {joins.map((join) => (
          <JoinRow key={join.room} join={join} {...props} />
        ))}
      </ul>
      <footer>
        <button type="button" onClick={props.onLock}>
          {strings.lockNow}
        </button>
        <button type="button" class="quiet" onClick={props.onSettings}>
          {strings.settings.open}
        </button>
      </footer>
    </nav>
  );
}

interface RowProps {
  readonly place: string;
  readonly onChoose: (room: string) => void;
}

function RoomRow({ room, place, onChoose }: RowProps & { room: Room }): JSX.Element {
  const strings = useStrings();
  const entries = useHistory(room, LOOK_BACK) ?? [];
  const people = peopleOf(room, strings);
  const last = entries.findLast(isWords);
  const unread = room.id === place ? 0 : unreadOf(room, entries);
  const count = unreadCount(unread, LOOK_BACK);
  return (
    <li>
      <button
        type="button"
        class="room"
        data-room={room.id}
        aria-current={room.id === place}
        onClick={() => onChoose(room.id)}
      >
        <bdi class="name">{room.name || room.id.slice(0, 8)}</bdi>
        {last && <time>{clock(last.ts)}</time>}
        <span class="preview">
          {last && (
            <>
              <bdi>{last.mid === room.me ? strings.you : authorOf(last, people, strings)}</bdi>:{" "}
              <bdi>{excerptOf(last)}</bdi>
            </>
          )}
        </span>
        {room.saved.url !== ownRelay() && <span class="where">{hostOf(room.url)}</span>}
        {count && (
          <span class="count">
            <span aria-hidden="true">{count}</span>
            <span class="unseen">{strings.unread(count)}</span>
          </span>
        )}
      </button>
    </li>
  );
}

function JoinRow({ join, place, onChoose }: RowProps & { join: JoinInfo }): JSX.Element {
  const strings = useStrings();
  return (
    <li>
      <button
        type="button"
        class="room"
        data-room={join.room}
        aria-current={join.room === place}
        onClick={() => onChoose(join.room)}
      >
        <span class="name">{strings.unnamed}</span>
        <span class="preview">
          {join.state === "failed" ? strings.joinFailed : strings.pending}
        </span>
      </button>
    </li>
  );
}
