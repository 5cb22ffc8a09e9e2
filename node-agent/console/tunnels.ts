/** Answers the server's tunnel offers, each by one Attach stream on a connection apart from the session's. */
import { NodeAgentServiceDefinition, TunnelKind } from "../../gen/drover/agent/v1/agent.ts";
import type { AttachRequest, TunnelOffer } from "../../gen/drover/agent/v1/agent.ts";
import type { Connection } from "../../lib/client.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { fileConsoleLog, output } from "./output.ts";
import type { Standing } from "./output.ts";

export type TunnelOptions = {
  connection: Connection;
  standing: (offer: TunnelOffer) => Standing;
  consoleLogPath: (vmiUid: string) => string;
  clock: Clock;
  log: Logger;
};

const TUNNELS_LIMIT = 200;

export class Tunnels {
  readonly #options: TunnelOptions;
  #open = 0;

  constructor(options: TunnelOptions) {
    this.#options = options;
  }

  /** Never waits: the tunnel runs by itself until either side ends it. */
  accept(offer: TunnelOffer, signal: AbortSignal): void {
    // An offer that is not answered ends by the server's deadline.
    if (this.#open >= TUNNELS_LIMIT) return this.#options.log.warn("too many tunnels are open");
    this.#open += 1;
    this.#run(offer, signal)
      .catch((error: unknown) => this.#options.log.debug({ error, vmiUid: offer.vmiUid }, "a tunnel broke"))
      .finally(() => (this.#open -= 1));
  }

  async #run(offer: TunnelOffer, parent: AbortSignal): Promise<void> {
    const ending = new AbortController();
    const signal = AbortSignal.any([parent, ending.signal]);
    const client = this.#options.connection.client(NodeAgentServiceDefinition);
    try {
      // The server's half carries nothing for output; its end is the client's going.
      for await (const _ of client.attach(this.#messages(offer, signal), { signal })) continue;
    } finally {
      ending.abort();
    }
  }

  async *#messages(offer: TunnelOffer, signal: AbortSignal): AsyncGenerator<AttachRequest> {
    yield { message: { $case: "open", value: { tunnelId: offer.tunnelId } } };
    try {
      const reason = yield* this.#data(offer, signal);
      yield close(reason, "");
    } catch (error) {
      yield close("FAILED", error instanceof Error ? error.message : String(error));
    }
  }

  async *#data(offer: TunnelOffer, signal: AbortSignal): AsyncGenerator<AttachRequest, string> {
    const { standing, consoleLogPath, clock } = this.#options;
    if (offer.kind !== TunnelKind.CONSOLE_OUTPUT) return "FAILED";
    const where = standing(offer);
    if (where !== "owner") return where === "moved" ? "INSTANCE_MOVED" : "NOT_FOUND";
    await using log = await fileConsoleLog(consoleLogPath(offer.vmiUid));
    if (!log) return "NOT_FOUND";
    const { follow, tailBytes } = offer;
    const frames = output(log, { follow, tailBytes, standing: () => standing(offer), clock, signal });
    for (;;) {
      const next = await frames.next();
      if (next.done) return next.value;
      yield { message: { $case: "data", value: Buffer.from(next.value) } };
    }
  }
}

const close = (reason: string, message: string): AttachRequest => ({ message: { $case: "close", value: { reason, message: message.slice(0, 1024) } } });
