/** A QR code as a drawing: no image is loaded, and nothing is asked for it. */

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import encodeQR from "qr";

/** Light modules around the code, as scanners need them. */
const BORDER = 4;

export function QrCode({ text, label }: { text: string; label: string }): JSX.Element {
  const rows = useMemo(() => encodeQR(text, "raw", { ecc: "low", border: BORDER }), [text]);
  const path = rows
    .flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : "")))
    .join("");
  return (
    <svg class="qr" role="img" aria-label={label} viewBox={`0 0 ${rows.length} ${rows.length}`}>
      <path class="light" d={`M0 0h${rows.length}v${rows.length}h-${rows.length}z`} />
      <path class="dark" d={path} />
    </svg>
  );
}
