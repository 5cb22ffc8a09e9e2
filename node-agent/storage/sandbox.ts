/**
 * What a program that reads strangers' bytes is started through: a user of its own without any capability, a network
 * namespace in which there is nothing, and limits. All of it is util-linux.
 */
import { StorageError } from "./storage.ts";
import type { RunCommand } from "./command.ts";

/** Nobody: owns nothing, may read what everybody may. */
const READER_ID = 65_534;
const SETPRIV = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups", `--reuid=${READER_ID}`, `--regid=${READER_ID}`, "--"];
/** 1 GiB of memory, 10 s of processor, no writing of files, no core. */
const PRLIMIT = ["prlimit", "--as=1073741824", "--cpu=10", "--fsize=0", "--core=0", "--nofile=64", "--"];

/** From the first to the last choice; which of them works depends on the host's kernel and on the agent's own confinement. */
const FORMS: readonly (readonly string[])[] = [
  ["unshare", "--net", "--", ...SETPRIV, ...PRLIMIT],
  // An agent that may not make namespaces for itself: the unprivileged reader makes its own.
  [...SETPRIV, "unshare", "--user", "--net", "--", ...PRLIMIT],
];
/** An agent without privileges has none to give up. */
const UNPRIVILEGED_FORMS: readonly (readonly string[])[] = [["setpriv", "--no-new-privs", "--", "unshare", "--user", "--net", "--", ...PRLIMIT]];

const TRIAL_TIMEOUT_MS = 5_000;

export class Sandbox {
  readonly #run: RunCommand;
  #form: Promise<readonly string[]> | undefined;

  constructor(run: RunCommand) {
    this.#run = run;
  }

  /** What to put before a command line. Throws when this host cannot confine anything: then nothing is read at all. */
  async around(commandLine: readonly string[]): Promise<{ program: string; args: readonly string[] }> {
    this.#form ??= this.#firstThatWorks();
    const [program, ...args] = await this.#form.catch((error: unknown) => {
      this.#form = undefined;
      throw error;
    });
    return { program: program!, args: [...args, ...commandLine] };
  }

  async #firstThatWorks(): Promise<readonly string[]> {
    const faults: string[] = [];
    for (const form of process.getuid?.() === 0 ? FORMS : UNPRIVILEGED_FORMS) {
      try {
        await this.#run({ program: form[0]!, args: [...form.slice(1), "true"], timeoutMs: TRIAL_TIMEOUT_MS });
        return form;
      } catch (error) {
        faults.push(error instanceof Error ? error.message : String(error));
      }
    }
    throw new StorageError("ToolFailed", `This host cannot confine the reader of images: ${faults.join("; ")}`);
  }
}
