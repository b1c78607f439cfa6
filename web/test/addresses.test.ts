/** Addresses of relays in records, as tests/protocol/test_addresses.py has them. */

import { expect, test } from "vitest";

import { firstReachable, isAddress } from "../src/protocol/addresses.ts";

const PUBLIC = "wss://r.example";
const PRIVATE = [
  "ws://127.0.0.1:5100",
  "ws://127.1",
  "ws://2130706433",
  "ws://10.0.0.7",
  "ws://172.16.9.1",
  "ws://192.168.0.1",
  "ws://169.254.169.254/latest",
  "ws://100.64.0.1",
  "ws://0.0.0.0",
  "ws://[::1]:5100",
  "ws://[fe80::1]",
  "ws://[fd00::1]",
  "ws://[::ffff:10.0.0.7]",
  "ws://[::::]",
  "ws://localhost",
  "ws://LOCALHOST.",
  "ws://printer.local",
  "ws://router",
  "ws://0x7f.0.0.0xa",
  "ws://0x7f.0.0.0xA.:80",
];
const OPEN = [PUBLIC, "wss://8.8.8.8:443", "wss://[2606:4700::1111]", "wss://127.0.0.1.example"];

test("what an address is: the vectors have what is none", () => {
  const all = [...OPEN, ...PRIVATE, "ws://r.example:65535/ofc/", `wss://${"w".repeat(194)}`];
  expect(all.filter((url) => !isAddress(url))).toEqual([]);
});

test.each(PRIVATE)("nobody is sent to %s unasked", (url) => {
  expect(firstReachable([url], PUBLIC)).toBeUndefined();
  expect(firstReachable([url, PUBLIC], PUBLIC)).toBe(PUBLIC);
  expect(firstReachable([url, PUBLIC], "ws://192.168.0.2")).toBe(url);
});

test.each(OPEN)("anybody is sent to %s", (url) => {
  expect(firstReachable([url], PUBLIC)).toBe(url);
});
