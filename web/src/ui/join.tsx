/** Join a room by a link: the one the page was opened with, or one that is pasted. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import type { Client } from "../client/client.ts";
import { isJoinProblem } from "../client/joins.ts";
import { toldOf } from "../client/told.ts";
import { LinkInvalid, parseLink } from "../e2e/invites.ts";
import { LinkLost } from "../wire/link.ts";
import { isRelayAddress } from "./format.ts";
import { Field, Problem } from "./parts.tsx";
import { hasCamera, Scanner } from "./scanner.tsx";
import { sentenceOf } from "./sentences.ts";
import { type Strings, useStrings } from "./strings.ts";

interface JoinProps {
  readonly client: Client;
  readonly invitation: string;
  readonly onJoined: (room: string) => void;
  readonly onBack: () => void;
}

export function Join({ client, invitation, onJoined, onBack }: JoinProps): JSX.Element {
  const strings = useStrings();
  const [link, setLink] = useState(invitation);
  const [name, setName] = useState(client.allRooms().at(-1)?.saved.myName ?? "");
  const [via, setVia] = useState("");
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);

  const go = async (event: Event) => {
    event.preventDefault();
    const unfit = unfitness(link, name, via, strings);
    setProblem(unfit);
    if (unfit !== "" || isBusy) return;
    setBusy(true);
    try {
      onJoined(await client.join(link, name, via.trim()));
    } catch (error) {
      setProblem(reasonOf(error, strings));
      setBusy(false);
    }
  };

  return (
    <main class="pane">
      <div class="card">
        <h1>{strings.joinTitle}</h1>
        {invitation && <p>{strings.joinInvited}</p>}
        <form onSubmit={go}>
          {!invitation && (
            <Field
              label={strings.inviteLink}
              hint={strings.inviteHint}
              value={link}
              onValue={setLink}
              isFirst
            />
          )}
          {!invitation && hasCamera() && <Scan onText={setLink} />}
          <Field
            label={strings.yourName}
            value={name}
            onValue={setName}
            autocomplete="nickname"
            isFirst={invitation !== ""}
          />
          <details>
            <summary>{strings.joinThrough}</summary>
            <Field
              label={strings.making.relay}
              hint={strings.joinThroughHint}
              value={via}
              onValue={setVia}
            />
          </details>
          <Problem text={problem} />
          <div class="row">
            <button type="submit" class="main" aria-disabled={isBusy}>
              {isBusy ? strings.working : strings.joinGo}
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

/** A link that stands on another screen, as a QR code. */
function Scan({ onText }: { onText: (text: string) => void }): JSX.Element {
  const { scanning } = useStrings();
  const [isOpen, setOpen] = useState(false);
  if (!isOpen) {
    return (
      <button type="button" onClick={() => setOpen(true)}>
        {scanning.open}
      </button>
    );
  }
  const close = () => setOpen(false);
  const found = (text: string) => {
    close();
    onText(text);
  };
  return <Scanner onText={found} onClose={close} />;
}

function unfitness(link: string, name: string, via: string, strings: Strings): string {
  if (name.trim() === "") return strings.nameMissing;
  if (via.trim() !== "" && !isRelayAddress(via.trim())) return strings.making.badRelay;
  try {
    parseLink(link);
    return "";
  } catch (error) {
    if (error instanceof LinkInvalid) return strings.badLink;
    throw error;
  }
}

function reasonOf(error: unknown, strings: Strings): string {
  if (error instanceof LinkLost) return sentenceOf(toldOf(error), strings);
  if (isJoinProblem(error)) return strings.joinRefused(sentenceOf(toldOf(error), strings));
  throw error;
}
