/**
 * Addresses of relays that a signed record names (ofcd/protocol/addresses.py).
 *
 * A record holds for everybody or for nobody, so what an address is must be the same in every
 * implementation: this form, and not what some library takes for a URL.
 */

/** Characters; an invite carries no longer one. */
const LENGTH = 200;
const PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]";
const HOST = "[A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]";
const ADDRESS = new RegExp(`^wss?://(${HOST})(?::(?:${PORT}))?(?:/[A-Za-z0-9._~%/:=+,;-]*)?$`);
const LOCAL_NAME = /(?:^|\.)(?:localhost|local|internal|lan|home\.arpa)$/;

/** Whether this is ws:// or wss://, a host, maybe a port and a path, and nothing besides. */
export const isAddress = (text: string): boolean => text.length <= LENGTH && ADDRESS.test(text);

/**
 * The first of `urls` that a client which uses the relay at `here` may be sent to unasked.
 *
 * Nobody's word sends a client into a private network, its own machine first of all, but that of
 * somebody whose relay it reaches there already.
 */
export const firstReachable = (urls: readonly string[], here: string): string | undefined =>
  urls.find((url) => !isPrivate(url) || isPrivate(here));

function isPrivate(url: string): boolean {
  if (!URL.canParse(url)) return true;
  // It writes every number as four of them.
  const host = new URL(url.replace(/^ws/, "http")).hostname.toLowerCase().replace(/\.$/, "");
  if (host.startsWith("["))
    return !/^\[[23]/.test(host) || /^\[(?:2001:db8|2001:0?:|2002):/.test(host);
  const number = host.match(/^(\d+)\.(\d+)\.\d+\.\d+$/);
  if (number === null) return LOCAL_NAME.test(host) || !host.includes(".");
  const [a, b] = [Number(number[1]), Number(number[2])];
  return (
    [0, 10, 127].includes(a) ||
    a >= 224 ||
    (a === 100 && b >= 64 && b < 128) ||
    (a === 169 && b === 254) ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168)
  );
}
