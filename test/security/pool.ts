/** A pool with the agent's own storage on it, real qemu-img and all, beside a file of the host's that nobody may touch. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PoolDisk, VirtualMachineVolume } from "../../gen/drover/v1/machine.ts";
import { systemRandom } from "../../lib/random.ts";
import { hostStorage } from "../../node-agent/storage/host-storage.ts";
import { StorageError } from "../../node-agent/storage/storage.ts";
import { instance } from "../unit/node-agent/domain/build.ts";

const CANARY = "the canary is a file of the host's ".repeat(4096);

export function attackedPool() {
  const directory = mkdtempSync(join(tmpdir(), "drover-pool-"));
  const [path, state, canary] = [join(directory, "pool"), join(directory, "state"), join(directory, "canary")];
  for (const made of [path, state]) mkdirSync(made);
  writeFileSync(canary, CANARY);
  const before = statSync(canary, { bigint: true });
  const storage = hostStorage({ stateDirectory: state, pools: [{ name: "main", path }], random: systemRandom, findFirmware: async () => undefined });
  const machine = (disk: Partial<PoolDisk>) =>
    instance({}, { volumes: [VirtualMachineVolume.create({ name: "root", source: { $case: "disk", value: PoolDisk.create({ pool: "main", ...disk }) } })] });
  const qemuImg = (...args: string[]) => execFileSync("qemu-img", args, { encoding: "utf8", cwd: path });
  return {
    directory, path, canary, storage, qemuImg,
    image: (name: string) => join(path, name),
    start: (disk: Partial<PoolDisk>) => storage.prepareDisks(machine(disk)),
    receive: (disk: Partial<PoolDisk>) => storage.prepareIncoming(machine(disk)),
    /** "OK", or what the start was refused for. */
    end: (disk: Partial<PoolDisk>) => storage.prepareDisks(machine(disk)).then(() => "OK", faultOf),
    /** Not even looked at: its times are as they were. */
    checkCanary() {
      const after = statSync(canary, { bigint: true });
      assert.deepEqual([after.atimeNs, after.mtimeNs, after.ctimeNs, after.size], [before.atimeNs, before.mtimeNs, before.ctimeNs, before.size]);
      assert.equal(readFileSync(canary, "utf8"), CANARY);
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}

export function faultOf(error: unknown): string {
  assert.ok(error instanceof StorageError, String(error));
  return error.fault;
}
