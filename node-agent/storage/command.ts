/** Runs programs of the host: an argument list and never a shell, a bare environment, bounded in time and output. */
import { spawn } from "node:child_process";
import { StorageError } from "./storage.ts";

export type Command = {
  program: string;
  args: readonly string[];
  timeoutMs: number;
  /** An open file that the program finds as descriptor 3. */
  descriptor?: number;
};

/** Standard output of a program that succeeded; StorageError otherwise. */
export type RunCommand = (command: Command) => Promise<string>;

export const INHERITED_PATH = "/proc/self/fd/3";

const OUTPUT_BYTES_MAX = 1 << 20;
const ENVIRONMENT = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

export const runCommand: RunCommand = ({ program, args, timeoutMs, descriptor }) =>
  new Promise((resolve, reject) => {
    const stdio = ["ignore", "pipe", "pipe", ...(descriptor === undefined ? [] : [descriptor])] as const;
    const child = spawn(program, args, { stdio: [...stdio], env: ENVIRONMENT, timeout: timeoutMs, killSignal: "SIGKILL" });
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
