/** Files on their way out: chosen, dropped or pasted, sealed here, with their progress. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { Room } from "../client/room.ts";
import { CLOSED_EARLY, type UploadInfo, unlessKnown } from "../client/uploads.ts";
import { percentName } from "./format.ts";
import { makeThumb } from "./pictures.ts";
import { sentenceOf } from "./sentences.ts";
import { type Strings, useStrings } from "./strings.ts";

/** Send these; what goes wrong stands in the room's list. */
export const sendAll = (room: Room) => (files: readonly File[]) => {
  for (const file of files) {
    const thumb = () => makeThumb(file);
    void room.sendFile(file, { name: file.name, thumb }).catch(unlessKnown);
  }
};

export function Uploads({ room }: { room: Room }): JSX.Element {
  const strings = useStrings();
  return (
    <ul class="uploads" aria-live="polite">
      {room.uploads().map((upload) => {
        const { id, name, done, problem } = upload;
        return (
          <li key={id}>
            <span class={problem ? "problem" : ""}>
              {problem
                ? problemOf(upload, strings)
                : strings.files.sending(name, percentName(done))}
            </span>
            {!problem && <progress value={done} aria-label={name} />}
            <button type="button" onClick={() => void room.dropUpload(id)}>
              {problem ? strings.dismiss : strings.files.stop}
            </button>
          </li>
        );
      })}
    </ul>
  );
}

const problemOf = ({ name, problem }: UploadInfo, strings: Strings): string =>
  problem === CLOSED_EARLY
    ? strings.files.lost(name)
    : strings.files.failed(name, sentenceOf(problem, strings));

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
