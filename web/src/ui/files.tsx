/** A file in a message: fetched when asked for (small pictures at once), checked, then shown. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { RoomOver } from "../client/core.ts";
import { type Entry, refOf } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import { toldOf } from "../client/told.ts";
import { FileRejected, safeFileName } from "../e2e/attachments.ts";
import { MIB } from "../protocol/limits.ts";
import { RelayRefused } from "../wire/link.ts";
import { percentName, saveAs, sizeName } from "./format.ts";
import { Problem } from "./parts.tsx";
import { isPicture, thumbnail } from "./pictures.ts";
import { sentenceOf } from "./sentences.ts";
import { useStrings } from "./strings.ts";

/** Pictures up to this size are fetched without being asked for. */
const AT_ONCE_BYTES = 2 * MIB;
/** More than this is not decoded in the page. */
const PICTURE_BYTES = 20 * MIB;
const SMALL_PX = 360;
const LARGE_PX = 1600;

interface FileProps {
  readonly entry: Entry;
  readonly room: Room;
}

export function FileView({ entry, room }: FileProps): JSX.Element | null {
  const strings = useStrings();
  const { file } = entry;
  const [done, setDone] = useState<number>();
  const [problem, setProblem] = useState("");
  const [picture, setPicture] = useState<Blob>();
  if (file === undefined) return null;
  const canShow = isPicture(file.mime) && file.size <= PICTURE_BYTES;

  const fetched = async (): Promise<Blob | undefined> => {
    setProblem("");
    setDone(0);
    try {
      const onProgress = (at: number, count: number) => setDone(at / count);
      const pieces = await room.fetchFile(refOf(file), { onProgress });
      // Never under the type its sender claims: nothing in it is to be run.
      return new Blob(pieces, { type: "application/octet-stream" });
    } catch (error) {
      if (error instanceof RoomOver) return undefined;
      if (!(error instanceof FileRejected) && !(error instanceof RelayRefused)) throw error;
      setProblem(strings.files.broken(sentenceOf(toldOf(error), strings)));
      return undefined;
    } finally {
      setDone(undefined);
    }
  };
  const get = async () => {
    const blob = picture ?? (await fetched());
    if (blob !== undefined) saveAs(blob, safeFileName(file.name));
  };
  const show = async () => setPicture(await fetched());

  return (
    <div class="file">
      {canShow && picture && <Picture blob={picture} name={file.name} />}
      <p class="lite">
        <bdi class="filename">{strings.file(file.name, sizeName(file.size))}</bdi>
      </p>
      <p class="row">
        {canShow && picture === undefined && done === undefined && (
          <ShowButton isSmall={file.size <= AT_ONCE_BYTES && room.isLive} onShow={show} />
        )}
        {done === undefined ? (
          <button type="button" onClick={get}>
            {strings.files.get}
          </button>
        ) : (
          <span role="status">{strings.files.getting(percentName(done))}</span>
        )}
      </p>
      {entry.text && <p class="lite plain">{entry.text}</p>}
      <Problem text={problem} />
    </div>
  );
}

function ShowButton({ isSmall, onShow }: { isSmall: boolean; onShow: () => void }): JSX.Element {
  const strings = useStrings();
  const asked = useRef(false);
  useEffect(() => {
    if (isSmall && !asked.current) {
      asked.current = true;
      onShow();
    }
  }, [isSmall, onShow]);
  return (
    <button type="button" onClick={onShow}>
      {strings.files.show}
    </button>
  );
}

/** Drawn here from its bytes: no address is loaded, and a picture is all that it can become. */
function Picture({ blob, name }: { blob: Blob; name: string }): JSX.Element {
  const { files } = useStrings();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [isLarge, setLarge] = useState(false);
  const [isBroken, setBroken] = useState(false);
  useEffect(() => {
    let stale = false;
    const draw = async () => {
      const image = await thumbnail(blob, isLarge ? LARGE_PX : SMALL_PX);
      const { current } = canvas;
      if (stale || current === null) return;
      if (image === undefined) {
        setBroken(true);
        return;
      }
      current.width = image.width;
      current.height = image.height;
      current.getContext("2d")?.drawImage(image, 0, 0);
      image.close();
    };
    void draw();
    return () => {
      stale = true;
    };
  }, [blob, isLarge]);
  if (isBroken) return <p class="gone">{files.noPicture}</p>;
  return (
    <button
      type="button"
      class="picture"
      aria-expanded={isLarge}
      aria-label={files.enlarge(name)}
      onClick={() => setLarge((large) => !large)}
    >
      <canvas ref={canvas} role="img" aria-label={files.picture(name)} />
    </button>
  );
}
