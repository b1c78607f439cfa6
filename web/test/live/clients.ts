/** This core on real sockets, outside of a browser. */

import { WebSocket } from "ws";

import { Client } from "../../src/client/client.ts";
import type { Entry } from "../../src/client/entries.ts";
import type { Room } from "../../src/client/room.ts";
import { Vault } from "../../src/client/vault.ts";
import { type SocketLike, SUBPROTOCOL } from "../../src/wire/link.ts";

const makeSocket = (to: string) => new WebSocket(to, SUBPROTOCOL) as unknown as SocketLike;

/** Waits until a change of the client makes it true. */
export function until(client: Client, holds: () => boolean | Promise<boolean>): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = async () => {
      if (await holds()) {
        stop();
        resolve();
      }
    };
    const stop = client.subscribe(() => look().catch(reject));
    look().catch(reject);
  });
}

/** A client of its own, in a vault of this name. */
export async function openClient(create: boolean, name = "webber"): Promise<Client> {
  const vault = await (create ? Vault.create : Vault.open)(name, "passphrase");
  const client = new Client(vault, { makeSocket });
  client.start();
  return client;
}

/** What was said, in order. */
export const texts = (entries: readonly Entry[]) =>
  entries.filter((entry) => entry.kind === "text").map((entry) => entry.text);

/** Until these words have come. */
export const saw = (client: Client, room: Room, words: string) =>
  until(client, async () => texts(await room.history()).includes(words));

/** Until the relay has all that was said here. */
export const arrived = (client: Client, room: Room) =>
  until(client, () => room.waiting().length === 0);
