/** Read a QR code with the camera: looked at here, frame by frame, and sent nowhere. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import decodeQR from "qr/decode.js";

import { Problem } from "./parts.tsx";
import { type Strings, useStrings } from "./strings.ts";

const LOOK_EACH_MS = 200;
/** Of the longer side: enough for a code that is held before the camera. */
const LOOKED_AT_PX = 800;

/** Whether this browser lets a page ask for a camera. */
export const hasCamera = (): boolean => navigator.mediaDevices?.getUserMedia !== undefined;

interface ScannerProps {
  /** Called once, with what the code says; then the camera is off. */
  readonly onText: (text: string) => void;
  readonly onClose: () => void;
}

export function Scanner({ onText, onClose }: ScannerProps): JSX.Element {
  const strings = useStrings();
  const video = useRef<HTMLVideoElement>(null);
  const found = useRef(onText);
  found.current = onText;
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const shown = video.current;
    if (shown === null) return undefined;
    return watch(
      shown,
      (text) => found.current(text),
      (error) => setProblem(problemOf(error, strings)),
    );
  }, [strings]);
  return (
    <div class="scanner">
      <video ref={video} muted playsInline aria-label={strings.scanning.seen} />
      <p role="status">{problem === "" && strings.scanning.hold}</p>
      <Problem text={problem} />
      <button type="button" onClick={onClose}>
        {strings.cancel}
      </button>
    </div>
  );
}

/** Look through the camera until there is a code; returns how to stop. */
function watch(
  video: HTMLVideoElement,
  onText: (text: string) => void,
  onError: (error: unknown) => void,
): () => void {
  let isOver = false;
  let stop = () => {
    isOver = true;
  };
  const begin = async () => {
    const wanted = { video: { facingMode: "environment" }, audio: false };
    const stream = await navigator.mediaDevices.getUserMedia(wanted);
    const off = () => {
      clearInterval(timer);
      for (const track of stream.getTracks()) track.stop();
    };
    const timer = setInterval(() => {
      const text = read(video);
      if (text === undefined) return;
      off();
      onText(text);
    }, LOOK_EACH_MS);
    stop = off;
    if (isOver) off();
    video.srcObject = stream;
    await video.play();
  };
  begin().catch((error: unknown) => {
    if (!isOver) onError(error);
  });
  return () => {
    isOver = true;
    stop();
  };
}

/** What stands in a code that is seen just now, if one is. */
function read(video: HTMLVideoElement): string | undefined {
  const { videoWidth, videoHeight } = video;
  if (videoWidth === 0) return undefined;
  const scale = Math.min(1, LOOKED_AT_PX / Math.max(videoWidth, videoHeight));
  const [width, height] = [videoWidth, videoHeight].map((side) => Math.round(side * scale)) as [
    number,
    number,
  ];
  const context = new OffscreenCanvas(width, height).getContext("2d");
  if (context === null) return undefined;
  context.drawImage(video, 0, 0, width, height);
  try {
    return decodeQR(context.getImageData(0, 0, width, height));
  } catch {
    return undefined; // no code, or not a whole one
  }
}

function problemOf(error: unknown, { scanning }: Strings): string {
  if (!(error instanceof DOMException)) throw error;
  return error.name === "NotAllowedError" ? scanning.denied : scanning.none;
}
