/**
 * Whether hardware virtualization works. A device node says nothing, and libvirt starts guests on a broken one that
 * never print a line; so a small guest is booted and has to speak. Once for each boot of the host and version of QEMU.
 */
import { spawn } from "node:child_process";
import { access, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import type { BootIdentity } from "../../gen/drover/v1/meta.ts";
import { KvmState } from "../../gen/drover/v1/node.ts";
import type { Clock } from "../../lib/clock.ts";

export type KvmCheck = { state: KvmState; message: string };

/** A kernel and an initial ramdisk that print the marker on the first serial port. */
export type CanaryGuest = { kernel: string; initrd: string };

export type CanaryOptions = {
  guest: CanaryGuest | undefined;
  emulator: string;
  hypervisorVersion: string;
  boot: BootIdentity;
  stateDirectory: string;
  clock: Clock;
  device?: string;
};

export const CANARY_MARKER = "DROVER-GUEST-READY";
const TIMEOUT_MS = 10_000;
const MEMORY_MEBIBYTES = "128";
const OUTPUT_LENGTH_MAX = 1 << 20;
const MESSAGE_LENGTH_MAX = 300;

/** Takes up to ten seconds on the first call after a boot. */
export async function checkKvm(options: CanaryOptions): Promise<KvmCheck> {
  const { guest, device = "/dev/kvm" } = options;
  if (!(await exists(device))) return { state: KvmState.NOT_RUN, message: `no ${device}` };
  if (guest === undefined) return { state: KvmState.NOT_RUN, message: "no canary guest is configured" };
  const known = await recall(options, guest);
  if (known !== undefined) return known;
  const check = await bootCanary(options, guest);
  await remember(options, guest, check);
  return check;
}

/** Everything that a new answer may depend on. */
function key({ boot, hypervisorVersion, emulator }: CanaryOptions, guest: CanaryGuest): string {
  return JSON.stringify([boot.kernelBootId, boot.pid1StartTime, emulator, hypervisorVersion, guest.kernel, guest.initrd]);
}

const Remembered = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({ key: v.string(), state: v.picklist([KvmState.VERIFIED, KvmState.FAILED]), message: v.string() }),
);
const memoryFile = (stateDirectory: string) => join(stateDirectory, "canary.json");

/** A memory that cannot be read costs a boot and nothing else. */
async function recall(options: CanaryOptions, guest: CanaryGuest): Promise<KvmCheck | undefined> {
  const text = await readFile(memoryFile(options.stateDirectory), "utf8").catch(() => "");
  const result = v.safeParse(Remembered, text);
  if (!result.success || result.output.key !== key(options, guest)) return undefined;
  return { state: result.output.state, message: result.output.message };
}

async function remember(options: CanaryOptions, guest: CanaryGuest, check: KvmCheck): Promise<void> {
  const file = memoryFile(options.stateDirectory);
  await writeFile(`${file}.new`, JSON.stringify({ key: key(options, guest), ...check }), { mode: 0o600 });
  await rename(`${file}.new`, file);
}

function canaryArguments({ kernel, initrd }: CanaryGuest): string[] {
  const board = ["-accel", "kvm", "-m", MEMORY_MEBIBYTES, "-nographic", "-nodefaults", "-no-user-config", "-no-reboot"];
  return [...board, "-serial", "stdio", "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 panic=-1"];
}

/** The guest is killed by its own handle, whatever it did. */
function bootCanary({ emulator, clock }: CanaryOptions, guest: CanaryGuest): Promise<KvmCheck> {
  return new Promise((resolve) => {
    const child = spawn(emulator, canaryArguments(guest), { stdio: ["ignore", "pipe", "pipe"], env: { LC_ALL: "C" } });
    let output = "";
    const end = (verdict: KvmCheck) => {
      timer.cancel();
      child.kill("SIGKILL");
      resolve(verdict);
    };
    const fail = (what: string) => end({ state: KvmState.FAILED, message: `${what}; ${lastWords(output)}` });
    const timer = clock.after(TIMEOUT_MS, () => fail(`the canary guest did not come up within ${TIMEOUT_MS / 1000} s`));
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output = (output + text).slice(-OUTPUT_LENGTH_MAX);
        if (output.includes(CANARY_MARKER)) end({ state: KvmState.VERIFIED, message: "" });
      });
    }
    child.once("error", (error) => fail(`the canary guest cannot be started: ${error.message}`));
    child.once("close", (code, signal) => fail(`the canary guest's hypervisor ended by itself with ${signal ?? `exit code ${code}`}`));
  });
}

/** What a person wants to read of it: the last lines, without what a terminal would act upon. */
export function lastWords(output: string): string {
  const text = output.replaceAll(/[^\x20-\x7e]+/g, " ").trim();
  return text === "" ? "it printed nothing" : `it printed last: ${text.slice(-MESSAGE_LENGTH_MAX)}`;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
