/** Small pieces that several views share. */

import type { ComponentChildren, JSX } from "preact";
import { useErrorBoundary, useId, useLayoutEffect, useRef } from "preact/hooks";

interface FieldProps {
  readonly label: string;
  readonly value: string;
  readonly onValue: (value: string) => void;
  readonly isSecret?: boolean;
  readonly autocomplete?: "off" | "nickname" | "new-password" | "current-password";
  readonly hint?: string;
  /** It has the focus when the view appears. */
  readonly isFirst?: boolean;
}

export function Field(props: FieldProps): JSX.Element {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  // At once: whoever sees it may begin to type.
  useLayoutEffect(() => {
    if (props.isFirst) input.current?.focus();
  }, [props.isFirst]);
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <input
        ref={input}
        id={id}
        {...(props.isSecret ? { type: "password" } : { type: "text" })}
        autocomplete={props.autocomplete ?? "off"}
        aria-describedby={props.hint && `${id}-hint`}
        value={props.value}
        onInput={(event) => props.onValue(event.currentTarget.value)}
      />
      {props.hint && (
        <p id={`${id}-hint`} class="hint">
          {props.hint}
        </p>
      )}
    </div>
  );
}

interface GuardedProps {
  readonly children: ComponentChildren;
  readonly instead: JSX.Element;
}

/** What can not be drawn, whoever made it so, takes nothing beside it along. */
export function Guarded({ children, instead }: GuardedProps): ComponentChildren {
  const [error] = useErrorBoundary();
  return error === undefined ? children : instead;
}

/** A sentence that a screen reader says as soon as it is there. */
export const Problem = ({ text }: { text: string }): JSX.Element => (
  <p class="problem" role="alert">
    {text}
  </p>
);
