export { Comparator, ComparatorError } from "./comparator.ts";
export * from "./core.ts";
export * from "./lineage.ts";
export { SESSION_OVERHEAD, SecureSession, SessionError } from "./session.ts";
export * from "./signed.ts";
