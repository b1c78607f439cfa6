/** The whole page: locked or open, and what is wrong with it if anything is. */

import type { JSX } from "preact";
import { useCallback, useEffect, useLayoutEffect, useState } from "preact/hooks";
import wasmUrl from "wasm-themis/dist-es6/libthemis.wasm?url";

import { Client } from "../client/client.ts";
import { type Ending, Vault } from "../client/vault.ts";
import { initialize } from "../themis/index.ts";
import { Forget } from "./forget.tsx";
import { Gate } from "./gate.tsx";
import { Home } from "./home.tsx";
import { useTrouble } from "./hooks.ts";
import { takeInvitation } from "./invitation.ts";
import { useNewVersion } from "./offline.ts";
import { sentenceOf } from "./sentences.ts";
import { type Strings, useStrings } from "./strings.ts";
import { type Hold, whenForgotten, whenWanted } from "./tabs.ts";
import { type Closing, UnsentContext, unsentAfter } from "./unsent.ts";

export const VAULT = "ofc";
/** Of the encryption core's file; put here by the build (vite.config.ts). */
declare const CORE_INTEGRITY: string;

type Stage =
  | { readonly at: "loading" | "create" | "unlock" | "forget" }
  | { readonly at: "ended"; readonly why: Ending }
  | { readonly at: "unusable"; readonly why: "insecure" | "coreMissing" | "noStorage" }
  | { readonly at: "open"; readonly client: Client; readonly hold: Hold };

export function App({ invitation }: { invitation: string }): JSX.Element {
  const strings = useStrings();
  const [stage, setStage] = useState<Stage>({ at: "loading" });
  const [invited, setInvited] = useState(invitation);
  const [trouble, dismiss] = useTrouble();
  const useIt = useNewVersion();
  const [unsent, setUnsent] = useState(() => new Map<string, string>());
  const onClosed = useCallback((why: Closing) => setUnsent((now) => unsentAfter(now, why)), []);
  useEffect(() => void begin().then(setStage), []);
  useFragment(setInvited);
  useForgetting(setStage, onClosed);
  return (
    <>
      {trouble !== "" && (
        <div class="banner alarm" role="alert">
          {strings.broken(sentenceOf(trouble, strings))}
          <button type="button" onClick={dismiss}>
            {strings.dismiss}
          </button>
        </div>
      )}
      {useIt && (
        <div class="banner" role="status">
          {strings.newVersion}
          <button type="button" onClick={useIt}>
            {strings.useNewVersion}
          </button>
        </div>
      )}
      <UnsentContext.Provider value={unsent}>
        <View
          stage={stage}
          onStage={setStage}
          onClosed={onClosed}
          invited={invited}
          onInvited={setInvited}
        />
      </UnsentContext.Provider>
    </>
  );
}

/** A link opened in a tab that has the page already only changes the fragment. */
function useFragment(onInvited: (invitation: string) => void): void {
  useEffect(() => {
    const heard = () => {
      const invitation = takeInvitation(location, history);
      if (invitation !== "") onInvited(invitation);
    };
    addEventListener("hashchange", heard);
    return () => removeEventListener("hashchange", heard);
  }, [onInvited]);
}

/** Once another tab has forgotten everything, there is nothing to open here either. */
function useForgetting(
  onStage: (next: (now: Stage) => Stage) => void,
  onClosed: (why: Closing) => void,
): void {
  useEffect(() => {
    const next = (now: Stage): Stage => {
      if (now.at === "ended") return { at: "ended", why: "forgotten" };
      return now.at === "unlock" ? { at: "create" } : now;
    };
    return whenForgotten(() => {
      onClosed("forgotten");
      onStage(next);
    });
  }, [onStage, onClosed]);
}

interface ViewProps {
  readonly stage: Stage;
  readonly onStage: (stage: Stage) => void;
  /** The keys have left this page. */
  readonly onClosed: (why: Closing) => void;
  readonly invited: string;
  readonly onInvited: (invitation: string) => void;
}

function View({ stage, onStage, onClosed, invited, onInvited }: ViewProps): JSX.Element {
  const strings = useStrings();
  useHandingOver(stage, onStage, onClosed);
  const restart = () => void nextStage().then(onStage);
  switch (stage.at) {
    case "open":
      return (
        <Home
          client={stage.client}
          invitation={invited}
          onInvited={onInvited}
          onLock={() => {
            closeAll(stage);
            onClosed("locked");
            onStage({ at: "unlock" });
          }}
          onForget={() => {
            closeAll(stage);
            onClosed("locked");
            onStage({ at: "forget" });
          }}
        />
      );
    case "create":
    case "unlock":
      return (
        <Gate
          isNew={stage.at === "create"}
          isInvited={invited !== ""}
          onOpen={(vault, hold) => onStage({ at: "open", client: started(vault), hold })}
          onStale={restart}
          onForget={() => onStage({ at: "forget" })}
        />
      );
    case "ended":
      return <Ended why={stage.why} onGo={restart} />;
    case "forget":
      return <Forget vault={VAULT} onDone={restart} onCancel={restart} />;
    default:
      return <Notice text={noticeOf(stage, strings)} />;
  }
}

/** Another tab may have the vault at any time, or it be gone: this one then says so. */
function useHandingOver(
  stage: Stage,
  onStage: ViewProps["onStage"],
  onClosed: ViewProps["onClosed"],
): void {
  // At once: a tab that is not looked at draws nothing, and would hear nothing for a while.
  useLayoutEffect(() => {
    if (stage.at !== "open") return undefined;
    const { client, hold } = stage;
    let isOver = false;
    const ended = (why: Ending) => {
      if (isOver) return;
      isOver = true;
      closeAll(stage);
      onClosed(why);
      onStage({ at: "ended", why });
    };
    const taken = () => ended("taken");
    client.vault.onEnded = ended;
    void hold.lost.then(taken);
    const stop = whenWanted(taken);
    return () => {
      isOver = true;
      stop();
    };
  }, [stage, onStage, onClosed]);
}

function Ended({ why, onGo }: { why: Ending; onGo: () => void }): JSX.Element {
  const ending = useStrings().endings[why];
  return (
    <main class="card">
      <h1>{ending.title}</h1>
      <p role="status">{ending.why}</p>
      <div class="row">
        <button type="button" class="main" onClick={onGo}>
          {ending.go}
        </button>
      </div>
    </main>
  );
}

const Notice = ({ text }: { text: string }): JSX.Element => (
  <main class="card">
    <p role="status">{text}</p>
  </main>
);

const noticeOf = (stage: Stage, strings: Strings): string =>
  stage.at === "unusable" ? strings[stage.why] : strings.loading;

async function begin(): Promise<Stage> {
  if (!isSecureContext) return { at: "unusable", why: "insecure" };
  try {
    await loadCore();
  } catch {
    return { at: "unusable", why: "coreMissing" };
  }
  try {
    return await nextStage();
  } catch {
    return { at: "unusable", why: "noStorage" };
  }
}

/** The encryption core, if it has the checksum that it had when this page was built. */
async function loadCore(): Promise<void> {
  const { fetch } = globalThis;
  // Its loader fetches by itself, and knows of no checksum.
  globalThis.fetch = (input, init) => fetch(input, { ...init, integrity: CORE_INTEGRITY });
  try {
    await initialize(new URL(wasmUrl, document.baseURI).href);
  } finally {
    globalThis.fetch = fetch;
  }
}

const nextStage = async (): Promise<Stage> => ({
  at: (await Vault.exists(VAULT)) ? "unlock" : "create",
});

function started(vault: Vault): Client {
  const client = new Client(vault);
  client.start();
  return client;
}

/** Keys leave the memory; once all is written, another tab may open the vault. */
function closeAll({ client, hold }: Extract<Stage, { at: "open" }>): void {
  void client.close().finally(() => hold.letGo());
}
