/** Before anything can be read: make a vault, or unlock the one that is here. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { toldOf } from "../client/told.ts";
import { Vault, VaultError } from "../client/vault.ts";
import { VAULT } from "./app.tsx";
import { Field, Problem } from "./parts.tsx";
import { sentenceOf } from "./sentences.ts";
import { type Strings, useStrings } from "./strings.ts";
import { type Hold, holdVault } from "./tabs.ts";

const LEAST_CHARACTERS = 8;

interface GateProps {
  readonly isNew: boolean;
  readonly isInvited: boolean;
  readonly onOpen: (vault: Vault, hold: Hold) => void;
  /** Another tab has made a vault, or forgotten it, since it was looked for. */
  readonly onStale: () => void;
  readonly onForget: () => void;
}

export function Gate({ isNew, isInvited, onOpen, onStale, onForget }: GateProps): JSX.Element {
  const strings = useStrings();
  const [passphrase, setPassphrase] = useState("");
  const [again, setAgain] = useState("");
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);

  const go = async (event: Event) => {
    event.preventDefault();
    const unfit = isNew ? unfitness(passphrase, again, strings) : "";
    setProblem(unfit);
    if (unfit !== "" || isBusy) return;
    setBusy(true);
    await painted();
    try {
      setProblem(await tryOpen(isNew, passphrase, strings, onOpen));
    } catch (error) {
      if (!isStale(error)) throw error;
      onStale();
    } finally {
      setBusy(false);
    }
  };

  return (
    <main class="card">
      <h1>{isNew ? strings.createTitle : strings.unlockTitle}</h1>
      {isInvited && <p class="note">{strings.invited}</p>}
      <p>{isNew ? strings.createWhy : strings.unlockWhy}</p>
      {isNew && <p class="warning">{strings.createWarning}</p>}
      <form onSubmit={go}>
        <Field
          label={strings.passphrase}
          isSecret
          autocomplete={isNew ? "new-password" : "current-password"}
          value={passphrase}
          onValue={setPassphrase}
          isFirst
        />
        {isNew && (
          <Field
            label={strings.passphraseAgain}
            isSecret
            autocomplete="new-password"
            value={again}
            onValue={setAgain}
          />
        )}
        <Problem text={problem} />
        <div class="row">
          <button type="submit" class="main" aria-disabled={isBusy}>
            {isBusy ? strings.working : isNew ? strings.create : strings.unlock}
          </button>
          {!isNew && (
            <button type="button" class="quiet" onClick={onForget}>
              {strings.forget}
            </button>
          )}
        </div>
      </form>
    </main>
  );
}

function unfitness(passphrase: string, again: string, strings: Strings): string {
  if ([...passphrase].length < LEAST_CHARACTERS) return strings.passphraseShort(LEAST_CHARACTERS);
  return passphrase === again ? "" : strings.passphraseDiffers;
}

/** Longer than a frame takes. A page that is not looked at draws none. */
const FRAME_MS = 100;

/** Stretching a passphrase blocks the page for a moment: let "One moment" be seen first. */
const painted = () =>
  new Promise<void>((resolve) => {
    setTimeout(resolve, FRAME_MS);
    requestAnimationFrame(() => setTimeout(resolve));
  });

const isStale = (error: unknown) =>
  error instanceof VaultError && (error.fault === "there" || error.fault === "missing");

/** What is wrong; "" once the vault is open. */
async function tryOpen(
  isNew: boolean,
  passphrase: string,
  strings: Strings,
  onOpen: GateProps["onOpen"],
): Promise<string> {
  let hold: Hold | undefined;
  try {
    // Before another tab is asked to let go: who does not know it takes nothing over.
    const key = isNew ? undefined : await Vault.keyOf(VAULT, passphrase);
    hold = await holdVault();
    const vault = key ? await Vault.openWith(VAULT, key) : await Vault.create(VAULT, passphrase);
    // So that the browser does not throw it away to make room; some ask their person first.
    if (isNew) void navigator.storage?.persist?.().catch(() => false);
    onOpen(vault, hold);
    return "";
  } catch (error) {
    hold?.letGo();
    if (error instanceof VaultError && !isStale(error)) return sentenceOf(toldOf(error), strings);
    throw error;
  }
}
