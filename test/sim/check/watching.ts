/**
 * A program that only watches, over the same network as everybody: what it is told has to be the log itself, in order, once
 * and without a gap, through every broken stream, and a bookmark never goes past what came before it.
 */
import { ClientError, Status } from "nice-grpc-common";
import {
  ListVirtualMachineInstancesRequest, VirtualMachineInstanceServiceDefinition, WatchVirtualMachineInstancesRequest,
} from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { Connection } from "../../../lib/client.ts";
import type { World } from "../world/world.ts";
import type { Mirror } from "./mirror.ts";

const PREFIX = "virtualmachineinstances/";
const AGAIN_MS = 400;
/** A stream that is still for longer is given up, as the controller gives its own up. */
const SILENCE_MAX_MS = 90_000;

const numberOf = (revision: string): number => Number(revision.split(".").at(-1));

export class Watching {
  readonly #world: World;
  readonly #mirror: Mirror;
  readonly #client;
  #from = "";
  /** How far in the log what was told has been followed. */
  #at = 0;
  /** Of the log's entries, how many are behind that. */
  #passed = 0;

  constructor(world: World, mirror: Mirror, connection: Connection) {
    this.#world = world;
    this.#mirror = mirror;
    this.#client = connection.client(VirtualMachineInstanceServiceDefinition);
  }

  async run(): Promise<void> {
    for (;;) {
      try {
        if (this.#from === "") await this.#list();
        await this.#follow();
      } catch (error) {
        if (error instanceof ClientError && error.code === Status.OUT_OF_RANGE) this.#from = "";
      }
      await new Promise<void>((resolve) => this.#world.after(AGAIN_MS, resolve));
    }
  }

  async #list(): Promise<void> {
    const { revision } = await this.#client.listVirtualMachineInstances(ListVirtualMachineInstancesRequest.create({ pageSize: 500 }));
    this.#from = revision;
    this.#at = numberOf(revision);
    this.#passed = 0;
  }

  async #follow(): Promise<void> {
    const silence = new AbortController();
    let patience = this.#world.after(SILENCE_MAX_MS, () => silence.abort());
    const request = WatchVirtualMachineInstancesRequest.create({ fromRevision: this.#from });
    try {
      for await (const { event, revision } of this.#client.watchVirtualMachineInstances(request, { signal: silence.signal })) {
        patience.cancel();
        patience = this.#world.after(SILENCE_MAX_MS, () => silence.abort());
        this.#told(event?.$case === "bookmark" ? "bookmark" : "change", numberOf(revision));
        this.#from = revision;
      }
    } finally {
      patience.cancel();
    }
  }

  #told(what: "bookmark" | "change", number: number): void {
    const next = this.#nextAfter(this.#at);
    if (what === "change" && next !== number) return this.#world.fail("I3", `a watch is told of revision ${number}, and ${next ?? "nothing"} is the next one after ${this.#at}`);
    if (what === "bookmark" && next !== undefined && next <= number) return this.#world.fail("I3", `a bookmark says ${number}, and revision ${next} has not been told`);
    this.#at = number;
  }

  /** The log has every number once, in order: what was told is never looked through again. */
  #nextAfter(at: number): number | undefined {
    const { log } = this.#mirror;
    for (; this.#passed < log.length; this.#passed += 1) {
      const { key, revision } = log[this.#passed]!;
      const number = numberOf(revision);
      if (number > at && key.startsWith(PREFIX)) return number;
    }
    return undefined;
  }
}
