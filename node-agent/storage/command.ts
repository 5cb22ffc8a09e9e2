/**
 * Runs programs of the host to their end: an argument list and never a shell, a bare environment, bounded in time and
 * output. These are qemu-img, unshare with setpriv and prlimit around it, and fallocate. Besides them the agent starts
 * three programs that live longer: the libvirt driver (`libvirt/child-transport.ts`), doors (`door/doors.ts`) and the
 * guest that proves KVM (`inventory/canary.ts`).
 */
import { spawn } from "node:child_process";
import type { ChildProcess, StdioOptions } from "node:child_process";
import type { Duplex } from "node:stream";
import { exportImage } from "./block-export.ts";
import type { ExportedImage } from "./block-export.ts";
import { StorageError } from "./storage.ts";

export type Command = {
  program: string;
  args: readonly string[];
  timeoutMs: number;
  /** An open file that the program finds as descriptor 3. */
  descriptor?: number;
  /** An image that the program may read over descriptor 3. */
  image?: ExportedImage;
};

/** Standard output of a program that succeeded; StorageError otherwise. */
export type RunCommand = (command: Command) => Promise<string>;

export const INHERITED_PATH = "/proc/self/fd/3";

const OUTPUT_BYTES_MAX = 1 << 20;
const ENVIRONMENT = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

export const runCommand: RunCommand = ({ program, args, timeoutMs, descriptor, image }) =>
  new Promise((resolve, reject) => {
    const third = image ? ("pipe" as const) : descriptor;
    const stdio: StdioOptions = ["ignore", "pipe", "pipe", ...(third === undefined ? [] : [third])];
    const child: ChildProcess = spawn(program, args, { stdio, env: ENVIRONMENT, timeout: timeoutMs, killSignal: "SIGKILL" });
    if (image) void exportImage(child.stdio[3] as Duplex, image);
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name]?.setEncoding("utf8").on("data", (text: string) => {
        output[name] += text;
        if (output[name].length > OUTPUT_BYTES_MAX) child.kill("SIGKILL");
      });
    }
    child.once("error", (cause) => reject(new StorageError("ToolFailed", `Cannot run ${program}: ${cause.message}`, { cause })));
    child.once("close", (code, signal) => {
      if (code === 0) return resolve(output.stdout);
      const end = signal === null ? `exit code ${code}` : `stopped by ${signal}, after ${timeoutMs} ms at most`;
      reject(new StorageError("ToolFailed", `${program} failed: ${output.stderr.trim() || end}`));
    });
  });
