/** A few worker processes, each with one thing to do at a time. */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { MutantName } from "../mutants.ts";
import type { Order, Outcome, Word } from "./protocol.ts";

const WORKER = fileURLToPath(new URL("worker.ts", import.meta.url));
/** A seed that takes longer has come to a loop that time does not end. */
const SEED_MS_MAX = 120_000;

export class Worker {
  readonly #child: ChildProcess;
  readonly #ready: Promise<void>;
  #hear: (word: Word) => void = () => undefined;
  #fail: (error: Error) => void = () => undefined;

  constructor(mutant?: MutantName) {
    this.#child = fork(WORKER, mutant ? [mutant] : [], { stdio: ["ignore", "inherit", "inherit", "ipc"], env: { ...process.env, NODE_NO_WARNINGS: "1" } });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#ready = promise;
    this.#fail = reject;
    this.#child.on("message", (word) => ((word as Word).word === "ready" ? resolve() : this.#hear(word as Word)));
    this.#child.once("exit", (code) => this.#fail(new Error(`A worker ended with exit code ${code}`)));
  }

  async seed(seed: number): Promise<Outcome> {
    const word = await this.#order({ do: "seed", seed }, SEED_MS_MAX);
    if (word.word !== "outcome") throw new Error(`A worker said ${word.word}`);
    return word.outcome;
  }

  async shrink(seed: number, invariant: string): Promise<Extract<Word, { word: "story" }>> {
    const word = await this.#order({ do: "shrink", seed, invariant }, 10 * SEED_MS_MAX);
    if (word.word !== "story") throw new Error(`A worker said ${word.word}`);
    return word;
  }

  [Symbol.dispose](): void {
    this.#fail = () => undefined;
    this.#child.kill("SIGKILL");
  }

  async #order(order: Order, limitMs: number): Promise<Word> {
    await this.#ready;
    const { promise, resolve, reject } = Promise.withResolvers<Word>();
    const limit = setTimeout(() => reject(new Error(`Seed ${order.seed} does not come to an end`)), limitMs);
    this.#hear = resolve;
    this.#fail = reject;
    this.#child.send(order);
    try {
      return await promise;
    } finally {
      clearTimeout(limit);
    }
  }
}

/** Each piece of work in turn, as many at a time as there are workers. */
export async function spread<T>(work: readonly T[], width: number, run: (one: T) => Promise<void>): Promise<void> {
  const left = [...work];
  const take = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await run(one);
  };
  await Promise.all(Array.from({ length: Math.min(width, work.length) }, take));
}
