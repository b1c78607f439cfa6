/** Forget everything: after a typed word, since there is no way back. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { Vault } from "../client/vault.ts";
import { forgetPage } from "./offline.ts";
import { Field } from "./parts.tsx";
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
  const isSure = typed.trim().toLowerCase() === strings.forgetWord;

  const go = async (event: Event) => {
    event.preventDefault();
    if (!isSure) return;
    const hold = await holdVault();
    await Vault.forget(vault);
    hold.letGo();
    void forgetPage(); // of which nobody has a secret
    onDone();
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
        <div class="row">
          <button type="submit" class="danger" disabled={!isSure}>
            {strings.forgetNow}
          </button>
          <button type="button" onClick={onCancel}>
            {strings.cancel}
          </button>
        </div>
      </form>
    </main>
  );
}
