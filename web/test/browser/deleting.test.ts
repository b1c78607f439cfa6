/** A file whose message is deleted is gone from the relay too: who kept its key fetches it no more. */

import { expect, onTestFinished } from "vitest";

import { founder, Guest } from "./guest.ts";
import { relay, TEST_MS, test } from "./scene.ts";
import { PATIENCE_MS, type Said } from "./world.ts";

const SIZE = 300_000;

/** Somebody who keeps what this message said, and so the key of its file. */
function keeper(who: string, message: Said | undefined) {
  const fetcher = relay.fetches(who, Number(message?.["seq"]));
  onTestFinished(() => fetcher.stop());
  return fetcher;
}

test("one's own file is gone, though its message was deleted offline and the page closed", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Drafts");
  await relay.ofc("bo", "join", await guest.invite(), "--name", "Bo", "--timeout", "60");
  await guest.closePanel();
  await guest.attach("draft.txt", SIZE);
  const seen = (await relay.ofc("bo", "read", "Drafts")).find(({ kind }) => kind === "file");
  const bo = keeper("bo", seen);
  expect(await bo.again()).toBe(`fetched ${SIZE}`);

  await relay.away();
  await page.getByText("No connection to the relay").waitFor();
  await guest.deleteFile("draft.txt");
  await page.locator(".pending").getByText("This message was deleted.").waitFor();
  await page.close();
  await relay.back();
  expect(await bo.again()).toBe(`fetched ${SIZE}`);

  const back = guest.at(await guest.browser.newPage());
  await back.page.goto(relay.page);
  await back.unlock();
  await back.page.getByRole("button", { name: /Drafts/ }).click();
  await back.page.getByText("This message was deleted.").waitFor();
  await expect.poll(() => bo.again(), { timeout: PATIENCE_MS }).toBe("blob_gone");
  expect(complaints.filter((one) => !one.includes("ERR_CONNECTION_REFUSED"))).toEqual([]);
});

test("an owner's deletion of another's file drops it too", { timeout: TEST_MS }, async () => {
  const { guest } = await founder(relay, "Notices");
  const cai = await Guest.arrive("Cai");
  onTestFinished(() => cai.leave());
  await cai.joinBy(await guest.invite());
  await cai.inside("Notices");
  await relay.ofc("bo2", "join", await guest.invite(), "--name", "Bo", "--timeout", "60");
  await guest.closePanel();
  await cai.attach("notice.txt", SIZE);
  await cai.attach("kept.txt", SIZE);
  const [file, other] = (await relay.ofc("bo2", "read", "Notices")).filter(
    ({ kind }) => kind === "file",
  );
  const bo = keeper("bo2", file);
  expect(await bo.again()).toBe(`fetched ${SIZE}`);
  await guest.deleteFile("notice.txt");
  await expect.poll(() => bo.again(), { timeout: PATIENCE_MS }).toBe("blob_gone");
  await bo.stop();
  expect(await keeper("bo2", other).again()).toBe(`fetched ${SIZE}`);
});
