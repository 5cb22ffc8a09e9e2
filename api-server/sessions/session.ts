/** One agent's session: who it is, what waits to be sent to it, and the commands that it has not answered yet. */
import type { Command, CommandResult, Hello } from "../../gen/drover/agent/v1/agent.ts";
import type { Clock } from "../../lib/clock.ts";
import { Unavailable } from "../../lib/errors.ts";
import { Outbox } from "./outbox.ts";

const COMMANDS_MAX = 64;

export class NodeSession {
  readonly id: string;
  readonly node: string;
  /** Of the certificate that it was opened with. */
  readonly incarnation: number;
  readonly hello: Hello;
  readonly outbox = new Outbox();
  /** Of the node's own reports: an older one never overwrites a newer. */
  reportGeneration = -1;
  readonly #pending = new Map<string, (result: CommandResult | Error) => void>();

  constructor({ id, node, incarnation, hello }: { id: string; node: string; incarnation: number; hello: Hello }) {
    this.id = id;
    this.node = node;
    this.incarnation = incarnation;
    this.hello = hello;
  }

  get closed(): boolean {
    return this.outbox.closed;
  }

  /** Rejects with Unavailable when no answer comes in time or the session ends. */
  command(commandId: string, action: NonNullable<Command["action"]>, wait: { clock: Clock; timeoutMs: number }): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
      if (this.closed || this.#pending.size >= COMMANDS_MAX) return reject(unanswered(this.node));
      const timer = wait.clock.after(wait.timeoutMs, () => this.#settle(commandId, unanswered(this.node)));
      this.#pending.set(commandId, (result) => {
        timer.cancel();
        if (result instanceof Error) reject(result);
        else resolve(result);
      });
      this.outbox.put(`command/${commandId}`, { $case: "command", value: { commandId, action } });
    });
  }

  /** An answer to nothing that was asked, or one that comes late, is dropped. */
  answered(result: CommandResult): void {
    this.#settle(result.commandId, result);
  }

  close(error?: Error): void {
    this.outbox.close(error);
    for (const commandId of this.#pending.keys()) this.#settle(commandId, unanswered(this.node));
  }

  #settle(commandId: string, result: CommandResult | Error): void {
    const settle = this.#pending.get(commandId);
    this.#pending.delete(commandId);
    settle?.(result);
  }
}

const unanswered = (node: string) => new Unavailable(`The agent of "${node}" did not answer`, { reason: "NODE_DID_NOT_ANSWER" });
