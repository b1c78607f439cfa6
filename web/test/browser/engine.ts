/** A browser that Playwright can not drive: what the tests of the main path ask of it. */

import { PATIENCE_MS } from "./world.ts";

const POLL_MS = 100;
const ENTER = "\uE007";

export abstract class Engine {
  /** Goes to an address, and waits until it is loaded. */
  abstract open(url: string): Promise<void>;

  /** The value of an expression in the page, awaited there. */
  abstract value<T>(expression: string): Promise<T>;

  /** Presses and lets go of each key (w3.org/TR/webdriver2, section 15.4.2). */
  protected abstract press(keys: readonly string[]): Promise<void>;

  abstract stop(): Promise<void>;

  /** Waits until an expression holds in the page. */
  async until(expression: string): Promise<void> {
    const end = Date.now() + PATIENCE_MS;
    while (!(await this.value<boolean>(`Boolean(${expression})`))) {
      if (Date.now() > end) {
        throw new Error(
          `never true: ${expression}\n${await this.value("document.body.innerText")}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Puts the focus on the first element of a selector, and types. */
  async type(selector: string, text: string): Promise<void> {
    const element = `document.querySelector(${JSON.stringify(selector)})`;
    await this.until(element);
    await this.value(`${element}.focus()`);
    await this.press([...text]);
  }

  /** The key that sends a form or a message. */
  async enter(selector: string): Promise<void> {
    await this.type(selector, ENTER);
  }
}

/** The keyboard's part of "perform actions". */
export const keyboard = (keys: readonly string[]) => ({
  type: "key",
  id: "keyboard",
  actions: keys.flatMap((value) => [
    { type: "keyDown", value },
    { type: "keyUp", value },
  ]),
});
