/** What stands beside a room: its members, an invite, a search. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { RoomOver } from "../client/core.ts";
import { NotMoved } from "../client/notmoved.ts";
import { OtherRelay } from "../client/relays.ts";
import { toldOf } from "../client/told.ts";
import { isRefusal } from "../protocol/room.ts";
import { LinkLost, RelayRefused } from "../wire/link.ts";
import { useEscape, useKeptFocus } from "./hooks.ts";
import { sentenceOf } from "./sentences.ts";
import { useStrings } from "./strings.ts";

interface PanelProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}

export function Panel({ title, onClose, children }: PanelProps): JSX.Element {
  const strings = useStrings();
  const panel = useRef<HTMLElement>(null);
  const close = useRef<HTMLButtonElement>(null);
  /** What had the focus before, and has it again. */
  const [opener] = useState(() => document.activeElement);
  useLayoutEffect(() => {
    const { current } = panel;
    const hasFocus = () => current?.contains(document.activeElement);
    if (!hasFocus()) close.current?.focus(); // a field of the panel's own may be first
    return () => {
      const isFree = hasFocus() || document.activeElement === document.body;
      if (isFree && opener instanceof HTMLElement) opener.focus();
    };
  }, [opener]);
  useKeptFocus(panel, "header button");
  useEscape(onClose);
  return (
    <aside ref={panel} class="panel" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <button ref={close} type="button" onClick={onClose}>
          {strings.close}
        </button>
      </header>
      {children}
    </aside>
  );
}

/** What has a sentence that says all. */
const PLAIN = [LinkLost, OtherRelay, NotMoved];

/** Do something that the room may refuse; what went wrong, and whether it is under way. */
export function useDoing(): {
  readonly problem: string;
  readonly isBusy: boolean;
  readonly run: (act: () => Promise<unknown>) => Promise<void>;
} {
  const strings = useStrings();
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const run = async (act: () => Promise<unknown>) => {
    if (isBusy) return;
    setBusy(true);
    setProblem("");
    try {
      await act();
    } catch (error) {
      if (error instanceof RoomOver) return;
      const sentence = sentenceOf(toldOf(error), strings);
      if (isRefusal(error) || error instanceof RelayRefused)
        setProblem(strings.membership.failed(sentence));
      else if (PLAIN.some((kind) => error instanceof kind)) setProblem(sentence);
      else throw error;
    } finally {
      setBusy(false);
    }
  };
  return { problem, isBusy, run };
}

interface SureProps {
  readonly label: string;
  readonly question: string;
  readonly isBusy?: boolean;
  readonly onYes: () => void;
}

/** A button that asks once more before it does what can not be undone. */
export function Sure({ label, question, isBusy = false, onYes }: SureProps): JSX.Element {
  const [asks, setAsks] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const wasAsked = useRef(false);
  useLayoutEffect(() => {
    if (!asks && wasAsked.current) button.current?.focus(); // what had the focus is gone
    wasAsked.current = asks;
  }, [asks]);
  if (!asks) {
    return (
      <button ref={button} type="button" aria-disabled={isBusy} onClick={() => setAsks(!isBusy)}>
        {label}
      </button>
    );
  }
  const answer = (act?: () => void) => () => {
    setAsks(false);
    act?.();
  };
  return <Question text={question} onYes={answer(onYes)} onNo={answer()} />;
}

interface QuestionProps {
  readonly text: string;
  readonly onYes: () => void;
  readonly onNo: () => void;
}

/** Whether it is meant, in the place of the button that asked for it. */
export function Question({ text, onYes, onNo }: QuestionProps): JSX.Element {
  const strings = useStrings();
  const no = useRef<HTMLButtonElement>(null);
  useEffect(() => no.current?.focus(), []); // the button that had the focus is gone
  return (
    <div class="sure" role="alert">
      <p>{text}</p>
      <p class="row">
        <button type="button" class="danger" onClick={onYes}>
          {strings.membership.sure}
        </button>
        <button ref={no} type="button" onClick={onNo}>
          {strings.cancel}
        </button>
      </p>
    </div>
  );
}
