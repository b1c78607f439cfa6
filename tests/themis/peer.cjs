// wasm-themis as the other side of tests/themis/test_node.py: one JSON object a line in and out.
// In: {"do": name, ...fields}; bytes are hex. Out: {"ok": value} or {"error": text}.
"use strict";

// Its loader takes a global fetch for a browser's and gives it a file's path; without one it reads
// the file.
delete globalThis.fetch;

const path = require("node:path");
const readline = require("node:readline");

const web = path.join(__dirname, "..", "..", "web");
const themis = require(require.resolve("wasm-themis", { paths: [web] }));

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const raw = (text) => new Uint8Array(Buffer.from(text, "hex"));
const privateKey = (text) => new themis.PrivateKey(raw(text));
const publicKey = (text) => new themis.PublicKey(raw(text));
const pair = (m) => new themis.KeyPair(privateKey(m.private), publicKey(m.public));
const cell = (m) =>
  m.passphrase === undefined
    ? themis.SecureCellSeal.withKey(raw(m.key))
    : themis.SecureCellSeal.withPassphrase(m.passphrase);

let session;
let comparator;

const actions = {
  keypair() {
    const keys = new themis.KeyPair();
    return { private: hex(keys.privateKey), public: hex(keys.publicKey) };
  },
  seal: (m) => hex(cell(m).encrypt(raw(m.data), raw(m.context))),
  unseal: (m) => hex(cell(m).decrypt(raw(m.data), raw(m.context))),
  sign: (m) => hex(new themis.SecureMessageSign(privateKey(m.private)).sign(raw(m.data))),
  verify: (m) => hex(new themis.SecureMessageVerify(publicKey(m.public)).verify(raw(m.data))),
  box: (m) => hex(new themis.SecureMessage(pair(m)).encrypt(raw(m.data))),
  unbox: (m) => hex(new themis.SecureMessage(pair(m)).decrypt(raw(m.data))),
  session(m) {
    session = new themis.SecureSession(raw(m.public), privateKey(m.private), (id) =>
      new themis.PublicKey(id));
    return null;
  },
  connect: () => hex(session.connectionRequest()),
  negotiate: (m) => hex(session.negotiateReply(raw(m.data))),
  established: () => session.established(),
  wrap: (m) => hex(session.wrap(raw(m.data))),
  unwrap: (m) => hex(session.unwrap(raw(m.data))),
  compare(m) {
    comparator = new themis.SecureComparator();
    comparator.append(raw(m.data));
    return null;
  },
  begin: () => hex(comparator.begin()),
  proceed: (m) => hex(comparator.proceed(raw(m.data))),
  equal: () => comparator.complete() && comparator.compareEqual(),
};

async function main() {
  await themis.initialize();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const message = JSON.parse(line);
    let answer;
    try {
      answer = { ok: actions[message.do](message) };
    } catch (error) {
      answer = { error: String(error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
}

main();
