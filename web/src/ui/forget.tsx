/** Forget everything: after a typed word, since there is no way back. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { toldOf } from "../client/told.ts";
import { VaultError } from "../client/vault.ts";
import { forgetAll } from "./forgetting.ts";
import { Field, Problem } from "./parts.tsx";
import { sentenceOf } from "./sentences.ts";
import { useStrings } from "./strings.ts";
import { holdVault } from "./tabs.ts";

interface ForgetProps {
  readonly vault: string;
  readonly onDone: () => void;
  readonly onCancel: () => void;
}

export function Forget({ vault, onDone, onCancel }: ForgetProps): JSX.Element {
  const strings = useStrings();
  const [typed, setTyped] = useState("");
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const isSure = typed.trim().toLowerCase() === strings.forgetWord;

  const go = async (event: Event) => {
    event.preventDefault();
    if (!isSure || isBusy) return;
    setBusy(true);
    setProblem("");
    const hold = await holdVault();
    try {
      await forgetAll(vault, () => setProblem(strings.forgetBlocked));
      onDone();
    } catch (error) {
      if (!(error instanceof VaultError)) throw error;
      setProblem(sentenceOf(toldOf(error), strings));
    } finally {
      hold.letGo();
      setBusy(false);
    }
  };

  return (
    <main class="card">
      <h1>{strings.forgetTitle}</h1>
      <p class="warning">{strings.forgetWhy}</p>
      <form onSubmit={go}>
        <Field
          label={strings.forgetType(strings.forgetWord)}
          value={typed}
          onValue={setTyped}
          isFirst
        />
        <Problem text={problem} />
        <div class="row">
          <button type="submit" class="danger" disabled={!isSure || isBusy}>
            {isBusy ? strings.working : strings.forgetNow}
          </button>
          <button type="button" disabled={isBusy} onClick={onCancel}>
            {strings.cancel}
          </button>
        </div>
      </form>
    </main>
  );
}
