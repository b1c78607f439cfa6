/** A join under way: how it stands, until somebody who may admit has been online. */

import type { JSX } from "preact";

import type { Client, JoinInfo } from "../client/client.ts";
import { sentenceOf } from "./sentences.ts";
import { useStrings } from "./strings.ts";

interface WaitingProps {
  readonly client: Client;
  readonly join: JoinInfo;
  readonly onBack: () => void;
}

export function Waiting({ client, join, onBack }: WaitingProps): JSX.Element {
  const strings = useStrings();
  const giveUp = async () => {
    await client.cancelJoin(join.room);
    onBack();
  };
  return (
    <main class="pane">
      <div class="card">
        <h1>{join.state === "failed" ? strings.joinFailed : strings.waitingTitle}</h1>
        <p role="status">
          {join.state === "failed"
            ? strings.joinRefused(sentenceOf(join.reason, strings))
            : strings[join.state]}
        </p>
        <div class="row">
          <button type="button" class="only-phone" onClick={onBack}>
            {strings.back}
          </button>
          <button type="button" onClick={giveUp}>
            {strings.giveUp}
          </button>
        </div>
      </div>
    </main>
  );
}
