/**
 * Secure Comparator: two people learn whether they hold the same secret, and nothing else.
 *
 * Nothing binds a run to the two parties but the secret: it has to hold both their keys.
 */

import * as core from "wasm-themis";

import { ThemisError } from "./core.ts";

export class ComparatorError extends ThemisError {
  override readonly name = "ComparatorError";
}

/** One side of one comparison; whoever calls `begin` starts. `close` it at the end. */
export class Comparator {
  private readonly core: core.SecureComparator;
  private isOver = false;
  private isClosed = false;

  constructor(secret: Uint8Array) {
    this.core = new core.SecureComparator();
    this.core.append(secret);
  }

  /** The first message to the other side. */
  begin(): Uint8Array {
    return this.guarded(() => this.core.begin());
  }

  /**
   * Takes the other side's message; the answer to send, if one is due. Throws `ComparatorError` for
   * one that is damaged or out of turn, and for any after the result is known: each would be another
   * guess at the secret.
   */
  proceed(message: Uint8Array): Uint8Array | undefined {
    if (message.length === 0) throw this.refusal();
    const answer = this.guarded(() => this.core.proceed(message));
    this.isOver = this.result !== undefined;
    return answer.length > 0 ? answer : undefined;
  }

  /** Whether both hold the same; undefined while the run is not over. */
  get result(): boolean | undefined {
    if (this.isClosed || !this.core.complete()) return undefined;
    return this.core.compareEqual();
  }

  /** Frees the core's memory, which no garbage collector does. May be called again. */
  close(): void {
    this.isOver = true;
    if (this.isClosed) return;
    this.isClosed = true;
    this.core.destroy();
  }

  private guarded(act: () => Uint8Array): Uint8Array {
    if (this.isOver) throw this.refusal();
    this.isOver = true;
    try {
      const made = act();
      this.isOver = false;
      return made;
    } catch (error) {
      if (error instanceof core.ThemisError) throw this.refusal();
      throw error;
    }
  }

  private refusal(): ComparatorError {
    this.isOver = true;
    return new ComparatorError("the comparison is over, or a message of it was refused");
  }
}
