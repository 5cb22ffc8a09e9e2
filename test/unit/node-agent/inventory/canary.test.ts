/** With shell scripts in the place of QEMU. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KvmState } from "../../../../gen/drover/v1/node.ts";
import type { Clock } from "../../../../lib/clock.ts";
import { systemClock } from "../../../../lib/clock.ts";
import { chooseAccelerator } from "../../../../node-agent/inventory/accelerator.ts";
import { CANARY_MARKER, checkKvm, lastWords } from "../../../../node-agent/inventory/canary.ts";
import type { CanaryOptions } from "../../../../node-agent/inventory/canary.ts";

/** Ten seconds pass in a tenth of one. */
const fastClock: Clock = { ...systemClock, after: (ms, run) => systemClock.after(ms / 100, run) };

describe("checkKvm", () => {
  let directory: string;
  beforeEach(async () => (directory = await mkdtemp(join(tmpdir(), "drover-canary-"))));
  afterEach(() => rm(directory, { recursive: true }));

  /** Each run of the emulator leaves a line with its process and arguments. */
  async function options(script: string, replace: Partial<CanaryOptions> = {}): Promise<CanaryOptions> {
    const emulator = join(directory, "emulator");
    const device = join(directory, "device");
    await writeFile(emulator, `#!/bin/sh\necho "$$ $@" >> ${join(directory, "runs")}\n${script}\n`, { mode: 0o755 });
    await writeFile(device, "");
    const boot = { kernelBootId: "boot", pid1StartTime: "1" };
    const guest = { kernel: "/guest/kernel", initrd: "/guest/initrd" };
    return { guest, emulator, hypervisorVersion: "7.2.0", boot, stateDirectory: directory, clock: fastClock, device, ...replace };
  }
  const runs = async () => (await readFile(join(directory, "runs"), "utf8")).trim().split("\n");

  it("does not run without a device or a guest", async () => {
    const nowhere = await checkKvm(await options("exit 1", { device: join(directory, "none") }));
    assert.deepEqual(nowhere, { state: KvmState.NOT_RUN, message: `no ${join(directory, "none")}` });
    assert.equal((await checkKvm(await options("exit 1", { guest: undefined }))).state, KvmState.NOT_RUN);
    assert.equal(existsSync(join(directory, "runs")), false);
  });

  it("is content once the guest speaks, and kills it", async () => {
    const check = await checkKvm(await options(`echo booting; echo ${CANARY_MARKER} boot=1; exec sleep 60`));
    assert.deepEqual(check, { state: KvmState.VERIFIED, message: "" });
    const [pid, ...args] = (await runs())[0]!.split(" ");
    assert.equal(args.slice(0, 4).join(" "), "-accel kvm -m 128");
    const until = systemClock.monotonicMs() + 5000;
    while (isRunning(pid!) && systemClock.monotonicMs() < until) await new Promise((resolve) => systemClock.after(10, () => resolve(undefined)));
    assert.equal(isRunning(pid!), false);
  });

  it("says what was seen of a guest that never speaks", async () => {
    const check = await checkKvm(await options("echo SeaBIOS; exec sleep 60"));
    assert.equal(check.state, KvmState.FAILED);
    assert.match(check.message, /did not come up within 10 s; it printed last: SeaBIOS$/);
  });

  it("says why a guest ended or never began", async () => {
    assert.match((await checkKvm(await options("echo no kvm >&2; exit 1"))).message, /exit code 1; it printed last: no kvm/);
    assert.match((await checkKvm(await options("", { emulator: join(directory, "absent") }))).message, /cannot be started/);
  });

  it("boots once for each boot of the host and version of QEMU", async () => {
    const first = await options("exit 1");
    const again = [first, first, { ...first, hypervisorVersion: "8.0.0" }, { ...first, boot: { ...first.boot, kernelBootId: "next" } }];
    for (const one of again) assert.equal((await checkKvm(one)).state, KvmState.FAILED);
    assert.equal((await runs()).length, 3);
  });

  it("boots again when what it remembers cannot be read", async () => {
    const one = await options("exit 1");
    await checkKvm(one);
    await appendFile(join(directory, "canary.json"), "}");
    assert.equal((await checkKvm(one)).state, KvmState.FAILED);
    assert.equal((await runs()).length, 2);
  });
});

describe("lastWords", () => {
  it("has nothing in it that a terminal would act upon, and an end", () => {
    assert.equal(lastWords("\u001b[2J a\nb\u202e "), "it printed last: [2J a b");
    assert.equal(lastWords("\n"), "it printed nothing");
    assert.ok(lastWords("x".repeat(5000)).length < 400);
  });
});

describe("chooseAccelerator", () => {
  it("emulates only where that is allowed and nothing better works", () => {
    assert.equal(chooseAccelerator(KvmState.VERIFIED, true), "kvm");
    assert.equal(chooseAccelerator(KvmState.VERIFIED, false), "kvm");
    for (const state of [KvmState.FAILED, KvmState.NOT_RUN, KvmState.UNSPECIFIED]) {
      assert.equal(chooseAccelerator(state, true), "qemu");
      assert.equal(chooseAccelerator(state, false), undefined);
    }
  });
});

function isRunning(pid: string): boolean {
  return existsSync(`/proc/${pid}`);
}
