import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migrationBlocker } from "../../../../node-agent/door/blocker.ts";
import { installQemuPki, qemuPkiFault } from "../../../../node-agent/door/qemu-pki.ts";

const OWNER = { uid: process.getuid!(), gid: process.getgid!() };
const NAMES = ["ca-cert.pem", "client-cert.pem", "client-key.pem", "server-cert.pem", "server-key.pem"];

describe("QEMU's certificate files", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "drover-qemu-pki-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it("are all there, and the key is its owner's alone", () => {
    assert.match(qemuPkiFault(directory), /missing/);
    installQemuPki(directory, { ca: "ca", cert: "cert", key: "key" }, OWNER);
    assert.equal(qemuPkiFault(directory), "");
    assert.deepEqual(NAMES.map((name) => readFileSync(join(directory, name), "utf8")), ["ca", "cert", "key", "cert", "key"]);
    assert.equal(statSync(join(directory, "server-key.pem")).mode & 0o777, 0o600);
    assert.equal(statSync(join(directory, "current/")).mode & 0o777, 0o700);
  });

  it("change all in one moment, and leave nothing of the old ones", () => {
    for (const name of NAMES) writeFileSync(join(directory, name), "by hand");
    installQemuPki(directory, { ca: "ca", cert: "cert 1", key: "key 1" }, OWNER);
    const first = readlinkSync(join(directory, "current"));
    // Half of a new version, as of an agent that was killed.
    mkdirSync(join(directory, "v-0123456789abcdef"));
    installQemuPki(directory, { ca: "ca", cert: "cert 2", key: "key 2" }, OWNER);
    assert.notEqual(readlinkSync(join(directory, "current")), first);
    assert.deepEqual(NAMES.map((name) => readlinkSync(join(directory, name))), NAMES.map((name) => `current/${name}`));
    assert.equal(readFileSync(join(directory, "server-key.pem"), "utf8"), "key 2");
    assert.deepEqual(readdirSync(directory).sort(), [...NAMES, "current", readlinkSync(join(directory, "current"))].sort());
    installQemuPki(directory, { ca: "ca", cert: "cert 2", key: "key 2" }, OWNER);
    assert.equal(readFileSync(join(directory, "client-cert.pem"), "utf8"), "cert 2");
  });

  it("are among the reasons why a node receives no migration", () => {
    const certificate = join(directory, "agent.pem");
    assert.match(migrationBlocker({ certificate, migration: undefined }), /configuration/);
    assert.match(migrationBlocker({ certificate, migration: { qemuPkiDirectory: directory } }), /no certificate that can be read/);
  });
});
