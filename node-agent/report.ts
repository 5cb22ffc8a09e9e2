/** The node's account of itself: looked at now and then and at every change of libvirt's, told when it differs. */
import type { NodeReport } from "../gen/drover/v1/node.ts";
import { delay } from "../lib/clock.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { reportChanged } from "./inventory/node-report.ts";
import { NODE } from "./outbox.ts";
import type { Outbox } from "./outbox.ts";

const LOOK_EVERY_MS = 10_000;

export type NodeReporterOptions = { collect: () => Promise<NodeReport>; outbox: Outbox; clock: Clock; log: Logger };

export class NodeReporter {
  readonly #options: NodeReporterOptions;
  #told: { report: NodeReport; atMs: number } | undefined;
  #wake: (() => void) | undefined;

  constructor(options: NodeReporterOptions) {
    this.#options = options;
  }

  /** Look now: something has changed. */
  poke(): void {
    this.#wake?.();
  }

  /** A new session may be with a server that has lost the last one: it is told again. */
  tellAgain(): void {
    this.#told = undefined;
    this.poke();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      await this.#look().catch((error: unknown) => log.warn({ error }, "the node could not be looked at"));
      await Promise.race([woken, delay(clock, LOOK_EVERY_MS, signal).catch(() => undefined)]);
    }
  }

  async #look(): Promise<void> {
    const { collect, outbox, clock } = this.#options;
    const report = await collect();
    const nowMs = clock.monotonicMs();
    const told = this.#told;
    if (!reportChanged(told?.report, report, nowMs - (told?.atMs ?? 0))) return;
    this.#told = { report, atMs: nowMs };
    outbox.submit(NODE, { $case: "node", value: { ...report, generation: outbox.generation() } });
  }
}
