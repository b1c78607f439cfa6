/**
 * The main path in the engines of Firefox and of Safari, as Debian has them: make a room, let Ana
 * in, talk both ways, read on offline.
 */

import { describe, expect, test } from "vitest";

import { Firefox, hasFirefox } from "./bidi.ts";
import type { Engine } from "./engine.ts";
import { PASSPHRASE } from "./guest.ts";
import { hasWebKit, WebKit } from "./webkit.ts";
import { missing, PATIENCE_MS, Relay } from "./world.ts";

const TEST_MS = 5 * PATIENCE_MS;
interface Kind {
  readonly name: string;
  readonly isThere: boolean;
  readonly packages: string;
  start(folder: string): Promise<Engine>;
}
const KINDS: readonly Kind[] = [
  { name: "Firefox", isThere: hasFirefox(), packages: "firefox-esr", start: Firefox.start },
  { name: "WebKit", isThere: hasWebKit(), packages: "webkit2gtk-driver xvfb", start: WebKit.start },
];

const has = (words: string) => `document.body.innerText.includes(${JSON.stringify(words)})`;
const says = (words: string) =>
  `[...document.querySelectorAll(".message:not(.pending) .lite")]` +
  `.some((one) => one.innerText.includes(${JSON.stringify(words)}))`;
const press = (label: string) =>
  `[...document.querySelectorAll("button")]` +
  `.find((one) => one.innerText.trim() === ${JSON.stringify(label)})?.click() ?? true`;

describe.each(KINDS)("$name", ({ name, isThere, packages, start }) => {
  const lacking = missing() || (isThere ? "" : `it is not there: apt-get install ${packages}`);
  if (lacking) console.warn(`The page is not tested in ${name}: ${lacking}`);

  test.skipIf(lacking !== "")(
    "a room is made, somebody let in, words go both ways and stay",
    { timeout: TEST_MS },
    async () => {
      const relay = await Relay.start();
      let engine: Engine | undefined;
      try {
        engine = await start(relay.folder);
        await mainPath(relay, engine);
      } finally {
        await engine?.stop();
        await relay.stop();
      }
    },
  );
});

/** Chooses a picture of 800 × 600 pixels as a file to send. */
const CHOSEN = `(async () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [800, 600];
  canvas.getContext("2d").fillRect(100, 100, 200, 200);
  const blob = await new Promise((made) => canvas.toBlob(made, "image/png"));
  const chosen = new DataTransfer();
  chosen.items.add(new File([blob], "square.png", { type: "image/png" }));
  const input = document.querySelector("input[type=file]");
  input.files = chosen.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
})()`;
/** The picture is there by its thumbnail alone: offline, the file itself can not be. */
const PICTURED = `document.querySelector("canvas")?.width === 360`;

async function mainPath(relay: Relay, engine: Engine): Promise<void> {
  await engine.open(relay.page);
  await engine.until(has("Nobody can recover it"));
  await engine.type(".field:nth-of-type(1) input", PASSPHRASE);
  await engine.type(".field:nth-of-type(2) input", PASSPHRASE);
  await engine.enter(".field:nth-of-type(2) input");
  await engine.until(has("No rooms yet"));
  await engine.value(press("New room"));
  await engine.type(".pane .field:nth-of-type(1) input", "Foxes");
  await engine.type(".pane .field:nth-of-type(2) input", "Webber");
  await engine.enter(".pane .field:nth-of-type(2) input");
  await engine.until(`document.querySelector(".composer")`);
  await engine.until(`!document.querySelector(".banner")`);
  await engine.value(`document.querySelectorAll(".bar [aria-expanded]")[1].click()`);
  await engine.until(`document.querySelector(".panel .main")`);
  await engine.value(press("Make a link"));
  await engine.until(`document.querySelector("input.link")`);
  const link = await engine.value<string>(`document.querySelector("input.link").value`);
  await relay.ana("join", link, "--name", "Ana", "--timeout", "60");
  await engine.until(has("You let Ana in"));

  await engine.type("textarea", "hello from here");
  await engine.enter("textarea");
  await engine.until(says("hello from here"));
  await relay.ana("send", "Foxes", "hello back");
  await engine.until(says("hello back"));
  await engine.value(CHOSEN);
  await engine.until(PICTURED);
  const read = await relay.ana("read", "Foxes");
  expect(read.map(({ text }) => text)).toContain("hello from here");

  await engine.open(relay.page);
  await engine.type("input", PASSPHRASE);
  await engine.enter("input");
  await engine.until(`document.querySelector(".room")`);
  await engine.value(`document.querySelector(".room").click()`);
  await engine.until(says("hello back"));

  // It opens without the relay too, and what is written then waits.
  await engine.value("navigator.serviceWorker.ready.then(() => true)");
  await relay.away();
  await engine.open(relay.page);
  await engine.type("input", PASSPHRASE);
  await engine.enter("input");
  await engine.until(`document.querySelector(".room")`);
  await engine.value(`document.querySelector(".room").click()`);
  await engine.until(says("hello back"));
  await engine.until(PICTURED);
  await engine.type("textarea", "from the dark");
  await engine.enter("textarea");
  await engine.until(`document.querySelector(".pending")`);
  await relay.back();
  await engine.until(says("from the dark"));
}
