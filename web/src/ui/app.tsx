/** The whole page: locked or open, and what is wrong with it if anything is. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import wasmUrl from "wasm-themis/dist-es6/libthemis.wasm?url";

import { Client } from "../client/client.ts";
import { Vault } from "../client/vault.ts";
import { initialize } from "../themis/index.ts";
import { Forget } from "./forget.tsx";
import { Gate } from "./gate.tsx";
import { Home } from "./home.tsx";
import { useTrouble } from "./hooks.ts";
import { takeInvitation } from "./invitation.ts";
import { type Strings, useStrings } from "./strings.ts";

export const VAULT = "ofc";

type Stage =
  | { readonly at: "loading" | "create" | "unlock" | "forget" }
  | { readonly at: "unusable"; readonly why: "insecure" | "coreMissing" }
  | { readonly at: "open"; readonly client: Client; readonly letGo: () => void };

export function App({ invitation }: { invitation: string }): JSX.Element {
  const strings = useStrings();
  const [stage, setStage] = useState<Stage>({ at: "loading" });
  const [invited, setInvited] = useState(invitation);
  const [trouble, dismiss] = useTrouble();
  useEffect(() => void begin().then(setStage), []);
  useFragment(setInvited);
  return (
    <>
      {trouble !== "" && (
        <div class="banner alarm" role="alert">
          {strings.broken(trouble)}
          <button type="button" onClick={dismiss}>
            {strings.dismiss}
          </button>
        </div>
      )}
      <View stage={stage} onStage={setStage} invited={invited} onInvited={setInvited} />
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

interface ViewProps {
  readonly stage: Stage;
  readonly onStage: (stage: Stage) => void;
  readonly invited: string;
  readonly onInvited: (invitation: string) => void;
}

function View({ stage, onStage, invited, onInvited }: ViewProps): JSX.Element {
  const strings = useStrings();
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
            onStage({ at: "unlock" });
          }}
          onForget={() => {
            closeAll(stage);
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
          onOpen={(vault, letGo) => onStage({ at: "open", client: started(vault), letGo })}
          onForget={() => onStage({ at: "forget" })}
        />
      );
    case "forget":
      return <Forget vault={VAULT} onDone={restart} onCancel={restart} />;
    default:
      return <Notice text={noticeOf(stage, strings)} />;
  }
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
    await initialize(new URL(wasmUrl, document.baseURI).href);
  } catch {
    return { at: "unusable", why: "coreMissing" };
  }
  return nextStage();
}

const nextStage = async (): Promise<Stage> => ({
  at: (await Vault.exists(VAULT)) ? "unlock" : "create",
});

function started(vault: Vault): Client {
  const client = new Client(vault);
  client.start();
  return client;
}

/** Keys leave the memory, and another tab may open the vault. */
function closeAll({ client, letGo }: Extract<Stage, { at: "open" }>): void {
  client.close();
  letGo();
}
