/** Files on their way out: chosen, dropped or pasted, sealed here, with their progress. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { RoomOver } from "../client/core.ts";
import type { Room } from "../client/room.ts";
import { FILE_BYTES, FileRejected } from "../e2e/attachments.ts";
import { RelayRefused } from "../wire/link.ts";
import { percentName, sizeName } from "./format.ts";
import { type Strings, useStrings } from "./strings.ts";

interface Upload {
  readonly id: number;
  readonly name: string;
  /** From 0 to 1. */
  readonly done: number;
  /** Why it was given up; "" while it goes on. */
  readonly problem: string;
  readonly stop: AbortController;
}

export interface UploadList {
  readonly items: readonly Upload[];
  readonly add: (files: readonly File[]) => void;
  readonly drop: (id: number) => void;
}

export function useUploads(room: Room): UploadList {
  const strings = useStrings();
  const [items, setItems] = useState<readonly Upload[]>([]);
  const next = useRef(0);
  const amend = (id: number, changes: Partial<Upload>) =>
    setItems((all) => all.map((one) => (one.id === id ? { ...one, ...changes } : one)));
  const drop = (id: number) => setItems((all) => all.filter((one) => one.id !== id));

  const send = async (file: File) => {
    next.current += 1;
    const id = next.current;
    const stop = new AbortController();
    const name = file.name || "file";
    setItems((all) => [...all, { id, name, done: 0, problem: "", stop }]);
    try {
      if (file.size > FILE_BYTES) {
        throw new FileRejected(strings.files.tooLarge(sizeName(FILE_BYTES)));
      }
      const onProgress = (at: number, count: number) => amend(id, { done: at / count });
      await room.sendFile(file, { name, onProgress, signal: stop.signal });
      drop(id);
    } catch (error) {
      if (stop.signal.aborted || error instanceof RoomOver) drop(id);
      else amend(id, { problem: problemOf(error, name, strings) });
    }
  };
  const add = (files: readonly File[]) => {
    for (const file of files) void send(file);
  };
  return { items, add, drop };
}

function problemOf(error: unknown, name: string, { files }: Strings): string {
  const isKnown =
    error instanceof FileRejected ||
    error instanceof RelayRefused ||
    // The file is gone, or may not be read any more.
    error instanceof DOMException;
  if (!isKnown) throw error;
  return files.failed(name, error.message);
}

export function Uploads({ uploads: { items, drop } }: { uploads: UploadList }): JSX.Element {
  const strings = useStrings();
  return (
    <ul class="uploads" aria-live="polite">
      {items.map(({ id, name, done, problem, stop }) => (
        <li key={id}>
          <span class={problem ? "problem" : ""}>
            {problem || strings.files.sending(name, percentName(done))}
          </span>
          {!problem && <progress value={done} aria-label={name} />}
          <button
            type="button"
            onClick={() => {
              stop.abort();
              drop(id);
            }}
          >
            {problem ? strings.dismiss : strings.files.stop}
          </button>
        </li>
      ))}
    </ul>
  );
}

const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;

/** Files may be dropped here. */
export function useDropping(onFiles: ((files: readonly File[]) => void) | undefined) {
  const [isOver, setOver] = useState(false);
  const latest = useRef(onFiles);
  latest.current = onFiles;
  useEffect(() => {
    // Dropped beside the target, a file would take the page's place.
    const ignore = (event: DragEvent) => {
      if (hasFiles(event)) event.preventDefault();
    };
    addEventListener("dragover", ignore);
    addEventListener("drop", ignore);
    return () => {
      removeEventListener("dragover", ignore);
      removeEventListener("drop", ignore);
    };
  }, []);
  const handlers = {
    onDragOver: (event: DragEvent) => {
      if (hasFiles(event) && latest.current) setOver(true);
    },
    onDragLeave: (event: DragEvent) => {
      if (event.target === event.currentTarget) setOver(false);
    },
    onDrop: (event: DragEvent) => {
      setOver(false);
      if (hasFiles(event)) latest.current?.([...(event.dataTransfer?.files ?? [])]);
    },
  };
  return { isOver, handlers };
}
