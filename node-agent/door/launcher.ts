/**
 * Starts the processes of doors and passages, each in a session of its own. One may be started before its grant is known:
 * it loads its program meanwhile, and a migration waits for the grant alone.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { deadline } from "../../lib/clock.ts";
import type { Clock, Timer } from "../../lib/clock.ts";
import type { FirstWord, Grant, Standing } from "./grant.ts";

const PROGRAM = fileURLToPath(new URL("./main.ts", import.meta.url));
/** It handles a few kilobytes at a time. */
const SMALL = ["--max-semi-space-size=1", "--max-old-space-size=64"];
const START_MS = 15_000;
const SPARE_MS = 600_000;
/** By then the end of the migration before has been recorded and told; a program that starts would hold that up. */
const SPARE_AFTER_MS = 1_000;

type Kind = Grant["kind"];

/** No door can be opened here; the message says why. */
export class DoorFailed extends Error {
  override name = "DoorFailed";
}

export class Launcher {
  readonly #stateDirectory: string;
  readonly #clock: Clock;
  /** By kind and migration. */
  readonly #waiting = new Map<string, ChildProcess>();
  /** For the next migration: they seldom come alone. */
  #spare: ChildProcess | undefined;
  #spareBegins: Timer | undefined;
  #spareEnds: Timer | undefined;

  constructor(stateDirectory: string, clock: Clock) {
    this.#stateDirectory = stateDirectory;
    this.#clock = clock;
  }

  /** Processes for grants that are to come, and no others. */
  expect(expected: readonly { kind: Kind; uid: string }[]): void {
    const keys = new Set(expected.map(({ kind, uid }) => keyOf(kind, uid)));
    if (keys.size > 0) this.#spareBegins?.cancel();
    for (const [key, child] of this.#waiting) {
      if (keys.has(key)) continue;
      child.kill("SIGKILL");
      this.#waiting.delete(key);
    }
    for (const { kind, uid } of expected) {
      const key = keyOf(kind, uid);
      if (!this.#waiting.has(key)) this.#waiting.set(key, this.#takeSpare() ?? this.#spawn(kind));
    }
  }

  /** A migration is over: its like may follow. */
  keepSpare(): void {
    this.#spareEnds?.cancel();
    this.#spareEnds = this.#clock.after(SPARE_MS, () => this.#takeSpare()?.kill("SIGKILL"));
    this.#spareBegins?.cancel();
    this.#spareBegins = this.#clock.after(SPARE_AFTER_MS, () => {
      if (!isAlive(this.#spare)) this.#spare = this.#spawn();
    });
  }

  /** No process is left that has no grant. */
  close(): void {
    this.expect([]);
    this.#spareBegins?.cancel();
    this.#spareEnds?.cancel();
    this.#takeSpare()?.kill("SIGKILL");
  }

  async launch(grant: Grant): Promise<Standing> {
    mkdirSync(dirname(grant.stateFile), { recursive: true, mode: 0o700 });
    const child = this.#take(grant) ?? this.#takeSpare() ?? this.#spawn(grant.kind);
    using patience = deadline(this.#clock, START_MS);
    try {
      const word = await firstWord(child, grant, patience.signal);
      if ("failed" in word) throw new DoorFailed(word.failed);
      return word.ready;
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    } finally {
      child.stdout?.destroy();
    }
  }

  #take({ kind, migrationUid }: Grant): ChildProcess | undefined {
    const key = keyOf(kind, migrationUid);
    const child = this.#waiting.get(key);
    this.#waiting.delete(key);
    return isAlive(child) ? child : undefined;
  }

  #takeSpare(): ChildProcess | undefined {
    const spare = this.#spare;
    this.#spare = undefined;
    return isAlive(spare) ? spare : undefined;
  }

  /** It has nothing of this process but where it writes its log. What it is to be may be known already. */
  #spawn(...kind: Kind[]): ChildProcess {
    const child = spawn(process.execPath, [...SMALL, PROGRAM, ...kind], {
      cwd: "/",
      detached: true,
      env: { NODE_COMPILE_CACHE: join(this.#stateDirectory, "compile-cache") },
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.on("error", () => undefined); // Told by the stream that ends without a word.
    child.stdin!.on("error", () => undefined);
    child.unref();
    return child;
  }
}

const isAlive = (child: ChildProcess | undefined): child is ChildProcess => child?.exitCode === null && child.signalCode === null;
const keyOf = (kind: Kind, migrationUid: string): string => `${kind} ${migrationUid}`;

async function firstWord({ stdin, stdout }: ChildProcess, grant: Grant, signal: AbortSignal): Promise<FirstWord> {
  stdin!.end(JSON.stringify(grant));
  // The reader of lines repeats the errors of what it reads.
  const lines = createInterface(stdout!).on("error", () => undefined);
  const [line] = (await Promise.race([
    once(lines, "line", { signal }),
    once(lines, "close", { signal }).then(() => Promise.reject(new DoorFailed(`The ${grant.kind} ended before it opened`))),
  ])) as [string];
  return JSON.parse(line) as FirstWord;
}
