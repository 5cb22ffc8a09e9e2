/** Who a node is, over restarts, and that one state directory has one agent. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemRandom } from "../../../lib/random.ts";
import { AlreadyRunning, bootIdentity, lockStateDirectory, nodeUid, rememberedStore } from "../../../node-agent/identity.ts";

describe("the agent's identity", () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "drover-identity-"))));
  afterEach(() => rmSync(directory, { recursive: true }));

  it("is made once", () => {
    const first = nodeUid(directory, systemRandom);
    assert.equal(nodeUid(directory, systemRandom), first);
    assert.match(first, /^[0-9a-f-]{36}$/);
  });

  it("names the boot", () => {
    const boot = bootIdentity();
    assert.match(boot.kernelBootId, /^[0-9a-f-]{36}$/);
    assert.match(boot.pid1StartTime, /^\d+$/);
  });

  it("belongs to the first store that it saw", () => {
    assert.equal(rememberedStore(directory).matches("one"), true);
    assert.equal(rememberedStore(directory).matches("two"), false);
    assert.equal(rememberedStore(directory).matches("one"), true);
  });

  it("refuses a second agent, and takes over from one that was killed", async () => {
    const module = join(import.meta.dirname, "../../../node-agent/identity.ts");
    const script = `const { lockStateDirectory } = await import(${JSON.stringify(module)});
      await lockStateDirectory(${JSON.stringify(directory)}); console.log("held"); setInterval(() => {}, 1000);`;
    const holder = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    await once(holder.stdout, "data");
    await assert.rejects(lockStateDirectory(directory), AlreadyRunning);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    using _lock = await lockStateDirectory(directory);
  });
});
