/** What concerns this browser as a whole. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import type { Client } from "../client/client.ts";
import { saveAs } from "./format.ts";
import { NOTIFY } from "./notices.ts";
import { Problem } from "./parts.tsx";
import { useStrings } from "./strings.ts";

interface SettingsProps {
  readonly client: Client;
  readonly onBack: () => void;
  readonly onLock: () => void;
  readonly onForget: () => void;
}

export function Settings({ client, onBack, onLock, onForget }: SettingsProps): JSX.Element {
  const strings = useStrings();
  const { settings } = strings;
  return (
    <main class="pane">
      <div class="card">
        <h1>{settings.title}</h1>
        <Notify client={client} />
        <Exports client={client} />
        <p>
          <a href="./check.html" target="_blank" rel="noopener">
            {settings.check}
          </a>
        </p>
        <p>
          <a href="./about" target="_blank" rel="noopener">
            {strings.about}
          </a>
        </p>
        <div class="row">
          <button type="button" onClick={onBack}>
            {strings.back}
          </button>
          <button type="button" onClick={onLock}>
            {strings.lockNow}
          </button>
          <button type="button" class="quiet" onClick={onForget}>
            {strings.forget}
          </button>
        </div>
      </div>
    </main>
  );
}

function Notify({ client }: { client: Client }): JSX.Element | null {
  const { settings } = useStrings();
  const [problem, setProblem] = useState("");
  if (!("Notification" in window)) return null;
  const isOn = client.setting(NOTIFY) === "on" && Notification.permission === "granted";
  const toggle = async () => {
    if (isOn) {
      await client.set(NOTIFY, "off");
      return;
    }
    const isAllowed = (await Notification.requestPermission()) === "granted";
    setProblem(isAllowed ? "" : settings.notifyDenied);
    if (isAllowed) await client.set(NOTIFY, "on");
  };
  return (
    <div>
      <label class="check">
        <input type="checkbox" checked={isOn} onChange={toggle} /> {settings.notify}
      </label>
      <p class="hint">{settings.notifyHint}</p>
      <Problem text={problem} />
    </div>
  );
}

function Exports({ client }: { client: Client }): JSX.Element | null {
  const { settings } = useStrings();
  const rooms = client.allRooms();
  const [chosen, setChosen] = useState(rooms[0]?.id ?? "");
  if (rooms.length === 0) return null;
  const save = async () => {
    const room = client.room(chosen);
    if (room === undefined) return;
    const blob = new Blob([await room.exported()], { type: "application/jsonl" });
    saveAs(blob, `${room.id.slice(0, 8)}.jsonl`);
  };
  return (
    <div>
      <p class="row">
        <select
          aria-label={settings.exportRoom}
          autocomplete="off"
          value={chosen}
          onChange={(event) => setChosen(event.currentTarget.value)}
        >
          {rooms.map((room) => (
            <option key={room.id} value={room.id}>
              {room.name}
            </option>
          ))}
        </select>
        <button type="button" onClick={save}>
          {settings.exportRoom}
        </button>
      </p>
      <p class="hint">{settings.exportHint}</p>
    </div>
  );
}
