/**
 * A file in a message. A picture's thumbnail came with the message; the file itself is fetched when it
 * is asked for (a small picture without a thumbnail at once), checked, then shown.
 */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { RoomOver } from "../client/core.ts";
import { type Entry, type FileInfo, refOf } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import { toldOf } from "../client/told.ts";
import { FileRejected, safeFileName } from "../e2e/attachments.ts";
import { b64decode } from "../protocol/bytes.ts";
import { MIB } from "../protocol/limits.ts";
import { RelayRefused } from "../wire/link.ts";
import { percentName, saveAs, sizeName } from "./format.ts";
import { Problem } from "./parts.tsx";
import { isPicture, received, SMALL_PX, thumbnail } from "./pictures.ts";
import { sentenceOf } from "./sentences.ts";
import { useStrings } from "./strings.ts";

/** Pictures up to this size, of which no thumbnail came, are fetched without being asked for. */
const AT_ONCE_BYTES = 2 * MIB;
const LARGE_PX = 1600;

interface FileProps {
  readonly entry: Entry;
  readonly file: FileInfo;
  readonly room: Room;
}

export function FileView({ entry, file, room }: FileProps): JSX.Element {
  const strings = useStrings();
  const [done, setDone] = useState<number>();
  const [problem, setProblem] = useState("");
  const [whole, setWhole] = useState<Blob>();
  const [isLarge, setLarge] = useState(false);
  const [thumb, setThumb] = useState(file.thumb);
  const canShow = isPicture(file);

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
    const blob = whole ?? (await fetched());
    if (blob !== undefined) saveAs(blob, safeFileName(file.name));
  };
  const show = async () => setWhole(await fetched());
  const enlarge = async () => {
    if (done !== undefined) return; // it is on its way
    const blob = whole ?? (await fetched());
    if (blob === undefined) return;
    setWhole(blob);
    setLarge((large) => !large);
  };

  return (
    <div class="file">
      {canShow && (whole || thumb) && (
        <Picture
          source={whole && (isLarge || !thumb) ? whole : (thumb ?? "")}
          name={file.name}
          isLarge={isLarge && whole !== undefined}
          onEnlarge={enlarge}
          onBroken={() => setThumb(undefined)}
        />
      )}
      <p class="lite">
        <bdi class="filename">{strings.file(file.name, sizeName(file.size))}</bdi>
      </p>
      <p class="row">
        {canShow && !whole && !thumb && done === undefined && (
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

interface PictureProps {
  /** A whole file, or a thumbnail in base64. */
  readonly source: Blob | string;
  readonly name: string;
  readonly isLarge: boolean;
  readonly onEnlarge: () => void;
  /** The thumbnail can not be drawn. */
  readonly onBroken: () => void;
}

/** Drawn here from its bytes: no address is loaded, and a picture is all that it can become. */
function Picture({ source, name, isLarge, onEnlarge, onBroken }: PictureProps): JSX.Element {
  const { files } = useStrings();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [broken, setBroken] = useState<Blob>();
  const latest = useRef(onBroken);
  latest.current = onBroken;
  useEffect(() => {
    let stale = false;
    const draw = async () => {
      const image =
        typeof source === "string"
          ? await received(b64decode(source))
          : await thumbnail(source, isLarge ? LARGE_PX : SMALL_PX);
      const { current } = canvas;
      if (stale || current === null) image?.close();
      else if (image !== undefined) paint(current, image);
      else if (typeof source === "string") latest.current();
      else setBroken(source);
    };
    void draw();
    return () => {
      stale = true;
    };
  }, [source, isLarge]);
  if (broken !== undefined && broken === source) return <p class="gone">{files.noPicture}</p>;
  return (
    <button
      type="button"
      class="picture"
      aria-expanded={isLarge}
      aria-label={files.enlarge(name)}
      onClick={onEnlarge}
    >
      <canvas ref={canvas} role="img" aria-label={files.picture(name)} />
    </button>
  );
}

function paint(canvas: HTMLCanvasElement, image: ImageBitmap): void {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d")?.drawImage(image, 0, 0);
  image.close();
}
