/**
 * The only door to wasm-themis: a few typed functions, checked on both sides.
 *
 * Facts about Themis that shape them stand in docs/protocol.md, Cryptography.
 */

import * as core from "wasm-themis";

import { checkPublicKey, PUBLIC_KEY_BYTES } from "../protocol/ids.ts";

export class ThemisError extends Error {
  override readonly name: string = "ThemisError";
}
/** A seal or a box that does not open: wrong key, wrong context, or changed. */
export class CannotOpen extends ThemisError {
  override readonly name = "CannotOpen";
}
export class BadSignature extends ThemisError {
  override readonly name = "BadSignature";
}

export const KEY_BYTES = 32;
export const CONTEXT_BYTES = 32;
export const SEAL_OVERHEAD = 44;
export const BOX_OVERHEAD = 52;
const SIGNED_HEADER_BYTES = 12;
const EC_SIGNED = 0x26042620;
const LEAST_SIGNATURE = 8;
const MOST_SIGNATURE = 72;

/** Both halves of an EC P-256 key pair. */
export interface KeyPair {
  readonly private: Uint8Array;
  readonly public: Uint8Array;
}

/** Load the WebAssembly core; call it once, before anything else here. */
export const initialize = (wasm?: string): Promise<void> => core.initialize(wasm);

function required(condition: boolean, sentence: string): void {
  if (!condition) throw new ThemisError(sentence);
}

/** 32 random bytes. */
export const generateKey = (): Uint8Array => new Uint8Array(new core.SymmetricKey());

export function randomBytes(count: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(count));
}

export function generateKeyPair(): KeyPair {
  const made = new core.KeyPair();
  return { private: new Uint8Array(made.privateKey), public: new Uint8Array(made.publicKey) };
}

function requireSealable(key: Uint8Array, context: Uint8Array): void {
  required(key.length === KEY_BYTES, "a key has 32 bytes");
  required(context.length === CONTEXT_BYTES, "a context has 32 bytes");
}

/** `text` sealed under a 32-byte key and bound to a 32-byte context; 44 bytes longer. */
export function seal(key: Uint8Array, text: Uint8Array, context: Uint8Array): Uint8Array {
  requireSealable(key, context);
  required(text.length > 0, "an empty text can not be sealed");
  return core.SecureCellSeal.withKey(key).encrypt(text, context);
}

/** What was sealed; throws `CannotOpen`. */
export function unseal(key: Uint8Array, sealed: Uint8Array, context: Uint8Array): Uint8Array {
  requireSealable(key, context);
  return opened(
    () => core.SecureCellSeal.withKey(key).decrypt(sealed, context),
    "the seal does not open: wrong key, wrong context or changed bytes",
  );
}

/** Stretched by Themis (PBKDF2): slow, on purpose. */
export const sealWithPassphrase = (passphrase: string, text: Uint8Array): Uint8Array =>
  core.SecureCellSeal.withPassphrase(passphrase).encrypt(text);

export const unsealWithPassphrase = (passphrase: string, sealed: Uint8Array): Uint8Array =>
  opened(
    () => core.SecureCellSeal.withPassphrase(passphrase).decrypt(sealed),
    "wrong passphrase, or changed bytes",
  );

function opened(open: () => Uint8Array, sentence: string): Uint8Array {
  try {
    return open();
  } catch (error) {
    throw refusalOf(error, new CannotOpen(sentence));
  }
}

/** The core's own refusal as `ours`; anything else is a bug, and stays what it is. */
function refusalOf(error: unknown, ours: ThemisError): unknown {
  return error instanceof core.ThemisError || error instanceof TypeError ? ours : error;
}

export function sign(privateKey: Uint8Array, payload: Uint8Array): Uint8Array {
  required(payload.length > 0, "an empty payload can not be signed");
  return new core.SecureMessageSign(new core.PrivateKey(privateKey)).sign(payload);
}

/** The payload that `publicKey` signed: the only thing to hash, compare or keep. */
export function verify(publicKey: Uint8Array, signed: Uint8Array): Uint8Array {
  checkPublicKey(publicKey);
  unverifiedPayload(signed);
  try {
    return new core.SecureMessageVerify(new core.PublicKey(publicKey)).verify(signed);
  } catch (error) {
    throw refusalOf(error, new BadSignature("the signature does not match this key"));
  }
}

/** What a signed container says its payload is, PROVEN BY NOBODY. */
export function unverifiedPayload(signed: Uint8Array): Uint8Array {
  if (signed.length < SIGNED_HEADER_BYTES)
    throw new BadSignature("the signed message is cut short");
  const header = new DataView(signed.buffer, signed.byteOffset, SIGNED_HEADER_BYTES);
  const [kind, payload, signature] = [0, 4, 8].map((at) => header.getUint32(at, true)) as [
    number,
    number,
    number,
  ];
  const wellFormed =
    kind === EC_SIGNED &&
    payload > 0 &&
    signature >= LEAST_SIGNATURE &&
    signature <= MOST_SIGNATURE &&
    signed.length >= SIGNED_HEADER_BYTES + payload + signature;
  if (!wellFormed) throw new BadSignature("not a message signed with an EC P-256 key");
  return signed.slice(SIGNED_HEADER_BYTES, SIGNED_HEADER_BYTES + payload);
}

const messenger = (privateKey: Uint8Array, publicKey: Uint8Array) =>
  new core.SecureMessage(
    new core.KeyPair(
      new core.PrivateKey(privateKey),
      new core.PublicKey(checkPublicKey(publicKey)),
    ),
  );

/** No context and no direction: the payload must say from, to and purpose. */
export function box(from: Uint8Array, to: Uint8Array, payload: Uint8Array): Uint8Array {
  required(payload.length > 0, "an empty payload can not be boxed");
  return messenger(from, to).encrypt(payload);
}

export function unbox(to: Uint8Array, from: Uint8Array, boxed: Uint8Array): Uint8Array {
  const sentence = "the box does not open: wrong keys or changed bytes";
  if (boxed.length <= BOX_OVERHEAD) throw new CannotOpen(sentence);
  const payload = opened(() => messenger(to, from).decrypt(boxed), sentence);
  if (payload.length + BOX_OVERHEAD !== boxed.length) {
    throw new CannotOpen("there is something behind the box");
  }
  return payload;
}

/** Whether the point is on the curve, as only the core can say. */
export function isOnCurve(publicKey: Uint8Array): boolean {
  if (publicKey.length !== PUBLIC_KEY_BYTES) return false;
  try {
    box(generateKeyPair().private, publicKey, Uint8Array.of(1));
    return true;
  } catch {
    return false;
  }
}
