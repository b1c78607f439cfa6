/** The main path in Debian's Firefox: make a room, let Ana in, talk both ways, read on offline. */

import { afterAll, beforeAll, expect, test as vitest } from "vitest";

import { Firefox, hasFirefox } from "./bidi.ts";
import { PASSPHRASE } from "./guest.ts";
import { missing, PATIENCE_MS, Relay } from "./world.ts";

const TEST_MS = 5 * PATIENCE_MS;
const lacking =
  missing() || (hasFirefox() ? "" : "there is no Firefox: apt-get install firefox-esr");
if (lacking) console.warn(`The page is not tested in Firefox: ${lacking}`);

let relay: Relay;
let firefox: Firefox;

beforeAll(async () => {
  if (lacking) return;
  relay = await Relay.start();
  firefox = await Firefox.start(relay.folder);
}, TEST_MS);

afterAll(() => {
  firefox?.stop();
  relay?.stop();
});

const has = (words: string) => `document.body.innerText.includes(${JSON.stringify(words)})`;
const says = (words: string) =>
  `[...document.querySelectorAll(".message:not(.pending) .lite")]` +
  `.some((one) => one.innerText.includes(${JSON.stringify(words)}))`;
const press = (label: string) =>
  `[...document.querySelectorAll("button")]` +
  `.find((one) => one.innerText.trim() === ${JSON.stringify(label)})?.click() ?? true`;

vitest.skipIf(lacking !== "")(
  "a room is made, somebody let in, words go both ways and stay",
  {
    timeout: TEST_MS,
  },
  async () => {
    await firefox.open(relay.page);
    await firefox.until(has("Nobody can recover it"));
    await firefox.type(".field:nth-of-type(1) input", PASSPHRASE);
    await firefox.type(".field:nth-of-type(2) input", PASSPHRASE);
    await firefox.enter(".field:nth-of-type(2) input");
    await firefox.until(has("No rooms yet"));
    await firefox.value(press("New room"));
    await firefox.type(".pane .field:nth-of-type(1) input", "Foxes");
    await firefox.type(".pane .field:nth-of-type(2) input", "Webber");
    await firefox.enter(".pane .field:nth-of-type(2) input");
    await firefox.until(`document.querySelector(".composer")`);
    await firefox.until(`!document.querySelector(".banner")`);
    await firefox.value(`document.querySelectorAll(".bar [aria-expanded]")[1].click()`);
    await firefox.until(`document.querySelector(".panel .main")`);
    await firefox.value(press("Make a link"));
    await firefox.until(`document.querySelector("input.link")`);
    const link = await firefox.value<string>(`document.querySelector("input.link").value`);
    await relay.ana("join", link, "--name", "Ana", "--timeout", "60");
    await firefox.until(has("You let Ana in"));

    await firefox.type("textarea", "hello from Firefox");
    await firefox.enter("textarea");
    await firefox.until(says("hello from Firefox"));
    await relay.ana("send", "Foxes", "hello back");
    await firefox.until(says("hello back"));
    const read = await relay.ana("read", "Foxes");
    expect(read.map(({ text }) => text)).toContain("hello from Firefox");

    await firefox.open(relay.page);
    await firefox.type("input", PASSPHRASE);
    await firefox.enter("input");
    await firefox.until(`document.querySelector(".room")`);
    await firefox.value(`document.querySelector(".room").click()`);
    await firefox.until(says("hello back"));

    // It opens without the relay too, and what is written then waits.
    await firefox.value("navigator.serviceWorker.ready.then(() => true)");
    await relay.away();
    await firefox.open(relay.page);
    await firefox.type("input", PASSPHRASE);
    await firefox.enter("input");
    await firefox.until(`document.querySelector(".room")`);
    await firefox.value(`document.querySelector(".room").click()`);
    await firefox.until(says("hello back"));
    await firefox.type("textarea", "from the dark");
    await firefox.enter("textarea");
    await firefox.until(`document.querySelector(".pending")`);
    await relay.back();
    await firefox.until(says("from the dark"));
  },
);
