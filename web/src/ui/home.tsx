/** The open page: the rooms beside the one that is read; on a phone one at a time. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { Client } from "../client/client.ts";
import { Chat } from "./chat.tsx";
import { Create } from "./create.tsx";
import { useBack, useClient, useFoundFocus, useWaking } from "./hooks.ts";
import { Join } from "./join.tsx";
import { useNotices } from "./notices.ts";
import { Rooms } from "./rooms.tsx";
import { Settings } from "./settings.tsx";
import { useStrings } from "./strings.ts";
import { Waiting } from "./waiting.tsx";

interface HomeProps {
  readonly client: Client;
  readonly invitation: string;
  readonly onInvited: (invitation: string) => void;
  readonly onLock: () => void;
  readonly onForget: () => void;
}

/** "" (the list of rooms), one of these, or a room's id in hex. */
type Place = string;
const JOIN: Place = "join";
const CREATE: Place = "create";
const SETTINGS: Place = "settings";
/** What has the focus in a view that opens over the one that had it: the way back, or where one writes. */
const MAIN = ["main .only-phone", "main textarea", "main button"];
const LIST = ".rooms button";

export function Home(props: HomeProps): JSX.Element {
  const { client } = props;
  const [place, setPlace] = useState<Place>("");
  useClient(client);
  useWaking(client);
  useNotices(client);
  useBack(() => setPlace(placeOf(history.state)));
  const go = (to: Place) => {
    // Going back in the browser comes back to the list, and no address says where one was.
    if (to !== place) history.pushState(stateOf(to), "");
    setPlace(to);
  };
  useEffect(() => {
    if (props.invitation !== "") setPlace(JOIN);
  }, [props.invitation]);
  const view = useRef<HTMLDivElement>(null);
  const last = useRef("");
  useFoundFocus(view, place, place ? MAIN : [`[data-room="${last.current}"]`, LIST]);
  last.current = place;
  return (
    <div ref={view} class={place === "" ? "home" : "home inside"}>
      <Rooms
        client={client}
        place={place}
        onChoose={go}
        onJoin={() => go(JOIN)}
        onCreate={() => go(CREATE)}
        onSettings={() => go(SETTINGS)}
        onLock={props.onLock}
      />
      <Inside {...props} place={place} onGo={go} />
    </div>
  );
}

/**
 * Where one was in this page, by number: browsers write the state of their history down, in clear, and
 * to forget everything forgets nothing there. To another page, and to this one reloaded, it says nothing.
 */
const PAGE = crypto.randomUUID();
const places: Place[] = [];

function stateOf(place: Place): object {
  if (!places.includes(place)) places.push(place);
  return { page: PAGE, at: places.indexOf(place) };
}

function placeOf(state: unknown): Place {
  const isOurs = typeof state === "object" && state !== null && "page" in state && "at" in state;
  return isOurs && state.page === PAGE ? (places[Number(state.at)] ?? "") : "";
}

interface InsideProps extends HomeProps {
  readonly place: Place;
  readonly onGo: (to: Place) => void;
}

function Inside(props: InsideProps): JSX.Element {
  const { client, place, invitation, onInvited, onGo } = props;
  const strings = useStrings();
  const back = () => onGo("");
  if (place === CREATE) return <Create client={client} onMade={onGo} onBack={back} />;
  if (place === SETTINGS) {
    return (
      <Settings client={client} onBack={back} onLock={props.onLock} onForget={props.onForget} />
    );
  }
  if (place === JOIN) {
    const joined = (room: string) => {
      onInvited("");
      onGo(room);
    };
    const away = () => {
      onInvited(""); // else no other link could be pasted
      back();
    };
    return (
      <Join
        key={invitation}
        client={client}
        invitation={invitation}
        onJoined={joined}
        onBack={away}
      />
    );
  }
  const room = client.room(place);
  if (room !== undefined) return <Chat key={place} client={client} room={room} onBack={back} />;
  const join = client.pendingJoins().find((one) => one.room === place);
  if (join !== undefined) return <Waiting client={client} join={join} onBack={back} />;
  return (
    <main class="empty">
      <p>{strings.chooseRoom}</p>
    </main>
  );
}
