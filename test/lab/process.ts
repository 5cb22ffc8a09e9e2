/**
 * Programs that a test starts, watches and kills: each writes to a log file of its own, so that it outlives no pipe
 * and its last words can be read after a `kill -9`.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { delay, systemClock } from "../../lib/clock.ts";
import { identityOf, isAlive, signalProcess, type ProcessIdentity } from "./proc-table.ts";

const COMMAND_TIMEOUT_MS = 60_000;
const COMMAND_OUTPUT_BYTES_MAX = 64 << 20;
/** The pause grows: what comes soon is seen at once, and what takes long is not held up by who asks. */
const POLL_MS = { first: 25, most: 100, growth: 1.2 };
const WAIT_TIMEOUT_MS = 30_000;
const STOP_GRACE_MS = 5_000;

export class CommandFailed extends Error {
  override name = "CommandFailed";
  readonly exitCode: number | string | null | undefined;
  readonly stdout: string;
  readonly stderr: string;
  constructor(command: string, { exitCode, stdout, stderr, cause }: { exitCode: CommandFailed["exitCode"]; stdout: string; stderr: string; cause: unknown }) {
    super(`"${command}" ended with ${exitCode ?? "a signal"}: ${stderr.trim()}`, { cause });
    this.exitCode = exitCode;
    this.stdout = stdout;
    this.stderr = stderr;
  }
}

export class WaitTimedOut extends Error {
  override name = "WaitTimedOut";
}

/** Runs a command to its end and gives what it wrote; a failure carries its standard error. */
export function run(
  command: string,
  args: readonly string[],
  { timeoutMs = COMMAND_TIMEOUT_MS, env = {} }: { timeoutMs?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  const options = { timeout: timeoutMs, killSignal: "SIGKILL", maxBuffer: COMMAND_OUTPUT_BYTES_MAX, env: { ...process.env, ...env } } as const;
  return new Promise((resolve, reject) => {
    execFile(command, args, options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      reject(new CommandFailed([command, ...args].join(" "), { exitCode: error.code, stdout, stderr, cause: error }));
    });
  });
}

export type Wait = { timeoutMs?: number };

/** Asks until there is an answer. `what` says in the error what was waited for. */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined> | T | undefined,
  { timeoutMs = WAIT_TIMEOUT_MS }: Wait = {},
): Promise<T> {
  const until = systemClock.monotonicMs() + timeoutMs;
  for (let pauseMs = POLL_MS.first; ; pauseMs = Math.min(POLL_MS.most, pauseMs * POLL_MS.growth)) {
    const answer = await probe();
    if (answer !== undefined) return answer;
    if (systemClock.monotonicMs() > until) throw new WaitTimedOut(`Waited ${timeoutMs} ms for ${what}`);
    await delay(systemClock, pauseMs);
  }
}

export function waitForPort({ host, port }: { host: string; port: number }, wait: Wait = {}): Promise<true> {
  return waitFor(`${host}:${port} to accept a connection`, () => accepts({ host, port }), wait);
}

export function waitForSocket(path: string, wait: Wait = {}): Promise<true> {
  return waitFor(`${path} to accept a connection`, () => accepts({ path }), wait);
}

/** The match of the first line that fits, as soon as the file has it. */
export function waitForLineIn(logFile: string, pattern: RegExp, wait: Wait = {}): Promise<RegExpExecArray> {
  return waitFor(`${pattern} in ${logFile}`, () => matchingLine(logFile, pattern), wait);
}

export function linesOf(logFile: string): string[] {
  return existsSync(logFile) ? readFileSync(logFile, "utf8").split(/\r?\n/) : [];
}

export type ProgramOptions = {
  command: string;
  args: readonly string[];
  logFile: string;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** Finds the program behind a command that only leads to it, such as nsenter. */
  resolvePid?: (spawnedPid: number) => number | undefined;
};

export type Exit = { code: number | null; signal: NodeJS.Signals | null };

/** A started program. It is killed when its scope ends; a test that wants it to live on keeps the value. */
export class Program {
  readonly identity: ProcessIdentity;
  readonly logFile: string;
  /** Settles when the program, or the command that leads to it, has ended. */
  readonly exited: Promise<Exit>;

  private constructor(identity: ProcessIdentity, logFile: string, exited: Promise<Exit>) {
    this.identity = identity;
    this.logFile = logFile;
    this.exited = exited;
  }

  static async start({ command, args, logFile, env = {}, cwd, resolvePid = (pid) => pid }: ProgramOptions): Promise<Program> {
    mkdirSync(dirname(logFile), { recursive: true });
    const log = openSync(logFile, "a");
    const child = spawn(command, args, {
      stdio: ["ignore", log, log],
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    closeSync(log);
    await once(child, "spawn"); // Rejects when the command cannot be run at all.
    const exited = new Promise<Exit>((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
    child.unref();
    const identity = await waitFor(`the process of ${command}`, () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new ProgramEnded(command, logFile);
      const pid = resolvePid(child.pid!);
      return pid === undefined ? undefined : identityOf(pid);
    });
    return new Program(identity, logFile, exited);
  }

  get pid(): number {
    return this.identity.pid;
  }

  isAlive(): boolean {
    return isAlive(this.identity);
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): boolean {
    return signalProcess(this.identity, signal);
  }

  /** Asks politely, then insists. */
  async stop({ graceMs = STOP_GRACE_MS }: { graceMs?: number } = {}): Promise<Exit> {
    this.kill("SIGTERM");
    await waitFor("the program to stop", () => !this.isAlive() || undefined, { timeoutMs: graceMs }).catch(() => this.kill());
    return this.exited;
  }

  lines(): string[] {
    return linesOf(this.logFile);
  }

  /** Fails at once when the program ends without having written such a line. */
  waitForLine(pattern: RegExp, wait: Wait = {}): Promise<RegExpExecArray> {
    return waitFor(`${pattern} in ${this.logFile}`, () => {
      const alive = this.isAlive(); // Asked before the log is read, so that last words count.
      const match = matchingLine(this.logFile, pattern);
      if (!match && !alive) throw new ProgramEnded(String(pattern), this.logFile);
      return match;
    }, wait);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

export class ProgramEnded extends Error {
  override name = "ProgramEnded";
  constructor(what: string, logFile: string) {
    super(`The program ended while it was waited for (${what}); its last words:\n${linesOf(logFile).slice(-20).join("\n")}`);
  }
}

function matchingLine(logFile: string, pattern: RegExp): RegExpExecArray | undefined {
  for (const line of linesOf(logFile)) {
    const match = pattern.exec(line);
    if (match) return match;
  }
  return undefined;
}

function accepts(target: { host: string; port: number } | { path: string }): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect(target);
    const settle = (answer: true | undefined) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => settle(true)).once("error", () => settle(undefined));
  });
}
