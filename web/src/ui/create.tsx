/** Make a room of one's own, at this page's relay or another. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import type { Client } from "../client/client.ts";
import { OtherRelay } from "../client/relays.ts";
import { toldOf } from "../client/told.ts";
import { LinkLost } from "../wire/link.ts";
import { isRelayAddress, ownRelay } from "./format.ts";
import { Field, Problem } from "./parts.tsx";
import { sentenceOf } from "./sentences.ts";
import { type Strings, useStrings } from "./strings.ts";

interface CreateProps {
  readonly client: Client;
  readonly onMade: (room: string) => void;
  readonly onBack: () => void;
}

export function Create({ client, onMade, onBack }: CreateProps): JSX.Element {
  const strings = useStrings();
  const [name, setName] = useState("");
  const [myName, setMyName] = useState(client.allRooms().at(-1)?.saved.myName ?? "");
  const [url, setUrl] = useState(ownRelay());
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);

  const go = async (event: Event) => {
    event.preventDefault();
    const unfit = unfitness({ name, myName, url }, strings);
    setProblem(unfit);
    if (unfit !== "" || isBusy) return;
    setBusy(true);
    try {
      onMade(await client.create({ url: url.trim(), name, myName, token: token.trim() }));
    } catch (error) {
      if (!(error instanceof OtherRelay || error instanceof LinkLost)) throw error;
      setProblem(sentenceOf(toldOf(error), strings));
    } finally {
      setBusy(false);
    }
  };

  return (
    <main class="pane">
      <div class="card">
        <h1>{strings.making.title}</h1>
        <p>{strings.making.why}</p>
        <form onSubmit={go}>
          <Field label={strings.making.name} value={name} onValue={setName} isFirst />
          <Field
            label={strings.yourName}
            value={myName}
            onValue={setMyName}
            autocomplete="nickname"
          />
          <details>
            <summary>{strings.making.elsewhere}</summary>
            <Field
              label={strings.making.relay}
              hint={strings.making.relayHint}
              value={url}
              onValue={setUrl}
            />
            <Field label={strings.making.token} value={token} onValue={setToken} />
          </details>
          <Problem text={problem} />
          <div class="row">
            <button type="submit" class="main" aria-disabled={isBusy}>
              {isBusy ? strings.working : strings.making.go}
            </button>
            <button type="button" onClick={onBack}>
              {strings.back}
            </button>
          </div>
        </form>
      </div>
    </main>
  );
}

interface Wanted {
  readonly name: string;
  readonly myName: string;
  readonly url: string;
}

function unfitness({ name, myName, url }: Wanted, strings: Strings): string {
  if (name.trim() === "") return strings.making.nameMissing;
  if (myName.trim() === "") return strings.nameMissing;
  return isRelayAddress(url.trim()) ? "" : strings.making.badRelay;
}
